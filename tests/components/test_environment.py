"""The graph that a stack becomes: what is made, in which order, with what, and what is never touched."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from model import postgresql
from model.errors import ConfigurationError
from provisioners.provider.registry import kinds
from tests.components.conftest import MakeSite, site_maker
from tests.components.doubles import OUTPUTS, Graph, check, differing, run
from tests.doubles.evidence import make_signer, put

FIVE = {"lb", "app1", "app2", "db1", "db2"}


@pytest.fixture(scope="module")
def stage(untouched: Path) -> Graph:
    return run(site_maker(untouched)("stage"), untouched)


@pytest.fixture(scope="module")
def prod(untouched: Path) -> Graph:
    return run(site_maker(untouched)("prod"), untouched)


def test_every_machine_is_built(stage: Graph) -> None:
    assert set(stage.of("Domain")) == set(stage.of("Boot")) == set(stage.of("WarmStart")) == FIVE
    assert set(stage.of("Volume")) == {f"{name}-system" for name in FIVE} | {"db1-data", "db2-data"}
    assert set(stage.of("Filesystem")) == {"db1:/srv", "db2:/srv"}


def test_a_template_for_each_size(stage: Graph) -> None:
    assert len(stage.of("Template")) == 2


def test_everything_has_the_environment_above_it(stage: Graph) -> None:
    known = {item.urn: item for item in stage.resources}
    for item in stage.resources:
        chain = [item]
        while chain[-1].parent in known:
            chain.append(known[chain[-1].parent])
        assert chain[-1].type == "understudy:components:Environment", item.name


def test_the_fence_stands_before_anything_that_could_send(stage: Graph) -> None:
    for network in stage.of("Network").values():
        if network.type.startswith("libvirt"):
            assert "Fence fence" in stage.before(network)
    for domain in stage.of("Domain").values():
        assert {"Fence fence", "Network mirror", "Network control", f"WarmStart {domain.name}"} <= stage.before(domain)


def test_the_mirror_network_leads_nowhere_and_the_host_has_no_address_on_it(stage: Graph) -> None:
    mirror, control = (stage.libvirt_network(name).inputs for name in ("mirror", "control"))
    assert mirror["mode"] == control["mode"] == "none"
    assert "addresses" not in mirror
    assert control["addresses"] == ["198.18.7.0/24"]


def test_machines_do_not_wait_for_each_other(stage: Graph) -> None:
    for name in FIVE:
        others = {f"{kind} {other}" for kind in ("Domain", "Boot") for other in FIVE - {name}}
        assert not others & stage.before(stage.one("Boot", name))


def test_services_wait_for_nothing_but_their_own_machine(make_site: MakeSite, project: Path) -> None:
    edits = {
        f"services/{name}/service.yaml": {"files:\n": "rollout: {first: 0}\nfiles:\n"} for name in ("app", "sysctl")
    }
    stage = run(make_site("stage", edits), project)
    for name, machine in (("lb:haproxy", "lb"), ("app1:app", "app1"), ("db1:sysctl", "db1")):
        before = stage.before(stage.one("Service", name))
        assert {item for item in before if item.startswith("Boot ")} == {f"Boot {machine}"}
        assert not any(item.startswith("Postgres") for item in before)


def services_before(graph: Graph, name: str) -> set[str]:
    return {item for item in graph.before(graph.one("Service", name)) if item.startswith("Service ")}


def test_a_service_comes_to_one_machine_first_spares_before_the_active_one(stage: Graph) -> None:
    assert services_before(stage, "app2:app") == set()
    assert services_before(stage, "app1:app") == {"Service app2:app"}
    assert services_before(stage, "db2:sysctl") == set()
    assert services_before(stage, "db1:sysctl") == {"Service db2:sysctl"}


@pytest.mark.parametrize(
    ("rollout", "waves"),
    [
        ("{first: [lb], at_once: 2}", [{"lb"}, {"db2", "app2"}, {"app1", "db1"}]),
        ("{first: 2, at_once: 1}", [{"db2", "app2"}, {"app1"}, {"lb"}, {"db1"}]),
        ("{first: 0}", [{"db2", "app2", "app1", "lb", "db1"}]),
        ("{first: 9}", [{"db2", "app2", "app1", "lb", "db1"}]),
    ],
)
def test_how_many_at_once_is_the_services_own(
    make_site: MakeSite, project: Path, rollout: str, waves: list[set[str]]
) -> None:
    edits = {
        "services/sshd/service.yaml": {"files:\n": f"rollout: {rollout}\nfiles:\n"},
        "Pulumi.prod.yaml": {"    sshd: [lb]": "    sshd: [lb, app1, app2, db1, db2]"},
    }
    stage, before = run(make_site("stage", edits), project), set[str]()
    for wave in waves:
        assert {name: services_before(stage, f"{name}:sshd") for name in wave} == dict.fromkeys(wave, before)
        before = before | {f"Service {name}:sshd" for name in wave}


def test_a_service_is_the_same_change_in_each_environment(stage: Graph, prod: Graph) -> None:
    for name, item in stage.of("Service").items():
        assert item.inputs["digest"] == prod.one("Service", name).inputs["digest"]
    digests = {item.inputs["service"]: item.inputs["digest"] for item in prod.of("Service").values()}
    assert len(set(digests.values())) == len(digests)


def test_what_a_service_is_on_a_machine(stage: Graph) -> None:
    cron, app = stage.one("Service", "db1:cron").inputs, stage.one("Service", "app1:app").inputs
    digest = "c1e12d9c993460e6396107668aa7ba79f8633decebb53aa6c38049584448be3f"
    source = f"/var/lib/understudy/packages/{digest}.deb"
    assert cron["packages"]["cron"] == {"version": "3.0pl1-162", "sha256": digest, "source": source}
    assert cron["units"] == {"cron.service": {"restart_on": []}}
    assert cron["confirm_seconds"] == 120
    assert cron["checks"] == [
        {"name": "runs", "command": ["systemctl", "is-active", "cron.service"], "prints": "active"}
    ]
    assert app["checks"][0]["command"][-1] == "http://10.20.0.21:8000/alive"
    haproxy = stage.one("Service", "lb:haproxy").inputs
    assert haproxy["validate"] == {"/etc/haproxy/haproxy.cfg": ["haproxy", "-c", "-f", "{}"]}
    assert haproxy["reload"] == {"/etc/haproxy/haproxy.cfg": "haproxy.service"}
    assert {haproxy["files"]["/etc/haproxy/haproxy.cfg"][key] for key in ("mode", "group")} == {"0640", "haproxy"}


def test_a_manifest_reaches_the_machine_with_what_it_may_change(make_site: MakeSite, project: Path) -> None:
    edits = {"Pulumi.prod.yaml": {"    cron: [db1]": "    puppet: [db1]\n    cron: [db1]"}}
    inputs = run(make_site("stage", edits), project).one("Service", "db1:puppet").inputs
    path = "/etc/understudy/puppet/site.pp"
    assert inputs["tool"] == {"kind": "puppet", "path": path, "files": ["/etc/motd"], "packages": [], "units": []}
    assert "file { '/etc/motd'" in inputs["files"][path]["content"]


def test_a_file_that_must_not_be_there(make_site: MakeSite, project: Path) -> None:
    edits = {"services/sshd/service.yaml": {"checks:\n": "  - {path: /etc/ssh/old, absent: true}\nchecks:\n"}}
    files = run(make_site("stage", edits), project).one("Service", "lb:sshd").inputs["files"]
    assert files["/etc/ssh/old"] == {"absent": True}


def test_the_replica_follows_the_primary(stage: Graph) -> None:
    replica = stage.one("PostgresReplica", "shop-db2")
    assert {"PostgresPrimary shop", "Filesystem db2:/srv"} <= stage.before(replica)
    assert replica.inputs["primary"] == {"name": "db1", "address": "10.20.0.31", "port": "5432"}
    assert replica.inputs["primary_data_id"] == OUTPUTS["PostgresPrimary"]["data_id"]


def test_what_sets_up_the_servers_of_a_store_is_a_service_like_any_other(stage: Graph, prod: Graph) -> None:
    """The replica first; the store begins with the same texts, and only the service changes them."""
    primary, replica = (stage.one("Service", f"{name}:postgresql") for name in ("db1", "db2"))
    unit, folder = "postgresql@15-main.service", "/etc/postgresql/15/main"
    restarted, reloaded = f"{folder}/conf.d/10-restart.conf", f"{folder}/conf.d/20-reload.conf"
    assert {"PostgresPrimary shop", "PostgresReplica shop-db2", "Service db2:postgresql"} <= stage.before(primary)
    assert "Service db1:postgresql" not in stage.before(replica)
    for item in (primary, replica):
        assert item.inputs["units"] == {unit: {"restart_on": [restarted]}}
        assert item.inputs["reload"] == {reloaded: unit, f"{folder}/pg_hba.conf": unit}
        assert set(item.inputs["validate"]) == {restarted, reloaded}
        assert "max_connections = '50'\n" in item.inputs["files"][restarted]["content"]
        assert "log_min_duration_statement = '1s'\n" in item.inputs["files"][reloaded]["content"]
        assert "archive_mode" not in item.inputs["files"][restarted]["content"], "that is for live data only"
        assert [check["name"] for check in item.inputs["checks"]] == ["its files", "it serves"]
    rules = [item.inputs["files"][f"{folder}/pg_hba.conf"]["content"] for item in (primary, replica)]
    assert ["10.20.0.32/32" in text for text in rules] == [True, False]
    live = prod.one("Service", "db1:postgresql").inputs["files"]
    assert "archive_mode = 'on'\n" in live[restarted]["content"]
    for graph in (stage, prod):
        for kind, name, service in (("PostgresPrimary", "shop", "db1"), ("PostgresReplica", "shop-db2", "db2")):
            store, files = graph.one(kind, name).inputs, graph.one("Service", f"{service}:postgresql").inputs["files"]
            addresses = store.get("replica_addresses") or ()
            begins = postgresql.site_files("15", store["settings"], store["hba"], addresses)
            assert {path: file["content"] for path, file in files.items()} == begins
            assert store["port"] == "5432"


def test_files_checks_and_restarts_of_its_own_stand_beside_the_servers(make_site: MakeSite, project: Path) -> None:
    own = """files:
  - {source: shop.sql.j2, path: /etc/postgresql/15/main/conf.d/30-own.conf}
units:
  - {unit: postgresql@15-main.service, restart_on: [/etc/postgresql/15/main/conf.d/30-own.conf]}
checks:
  - {name: large, command: ["true"]}
rollout: {first: [db1]}
store:
"""
    graph = run(make_site("stage", {"services/postgresql/service.yaml": {"store:\n": own}}), project)
    inputs = graph.one("Service", "db1:postgresql").inputs
    assert len(inputs["files"]) == 4
    assert inputs["units"] == {
        "postgresql@15-main.service": {
            "restart_on": [f"/etc/postgresql/15/main/conf.d/{name}.conf" for name in ("10-restart", "30-own")]
        }
    }
    assert [check["name"] for check in inputs["checks"]] == ["its files", "it serves", "large"]
    assert services_before(graph, "db1:postgresql") == set()
    assert "Service db1:postgresql" in services_before(graph, "db2:postgresql"), "where a setting is lowered"


def test_a_setting_of_two_lines_and_a_canary_elsewhere_are_told(make_site: MakeSite) -> None:
    file = "services/postgresql/service.yaml"
    with pytest.raises(ConfigurationError, match=r'rollout\.first: found "lb"; allowed: one of db1, db2'):
        make_site("stage", {file: {"store:\n": "rollout: {first: [lb]}\nstore:\n"}})
    two = {"rollout: {first: [lb]}": "", "timezone: UTC": "timezone: '{{ \"a\\nb\" }}'"}
    with pytest.raises(ConfigurationError, match=r"store\.settings: found a value has no line break"):
        make_site("stage", {file: two})


def test_what_is_on_a_machine_goes_with_it_but_its_shutdown_is_clean(stage: Graph) -> None:
    domains = {item.urn: item.name for item in stage.of("Domain").values()}
    for kind in ("Service", "Filesystem", "PostgresPrimary", "PostgresReplica", "HttpCheck"):
        for item in stage.of(kind).values():
            assert domains[item.deleted_with] == item.inputs["connection"]["name"], item.name
            assert item.inputs["generation"] == "g1"
    assert all(not boot.deleted_with for boot in stage.of("Boot").values())


def test_a_new_template_does_not_replace_a_disk_but_a_new_image_does(make_site: MakeSite, project: Path) -> None:
    disk = run(make_site("stage"), project).one("Volume", "lb-system")
    assert disk.ignored == {"xml"}
    lock = {"Placement.stage.lock.yaml": {"0123456789ab": "ba9876543210"}}
    assert run(make_site("stage", lock), project).one("Volume", "lb-system").inputs["name"] != disk.inputs["name"]


OWN = {
    "Pulumi.stage.yaml": {"config:\n": "config:\n  understudy:image: images/mine.qcow2\n"},
    "Placement.stage.lock.yaml": {"machines:\n": "own_image: {source: images/mine.qcow2, disk_mib: 3000}\nmachines:\n"},
}


def test_an_image_of_ones_own_boots_by_itself_and_has_no_template(make_site: MakeSite, project: Path) -> None:
    graph = run(make_site("stage", OWN), project)
    assert not graph.of("Template")
    assert {warm.inputs["template_key"] for warm in graph.of("WarmStart").values()} == {""}
    assert {boot.inputs["image"] for boot in graph.of("Boot").values()} == {""}
    assert {boot.inputs["untouched"] for boot in graph.of("Boot").values()} == {False}
    assert all("an image of your own" in boot.inputs["warm_reason"] for boot in graph.of("Boot").values())
    assert not any("kernel" in domain.inputs for domain in graph.of("Domain").values())
    for disk in (graph.one("Volume", f"{name}-system") for name in FIVE):
        assert "/var/lib/understudy/images/0123456789ab/disk.qcow2" in disk.inputs["xml"]["xslt"]
        assert disk.ignored == {"xml"}


def test_of_an_image_of_ones_own_another_address_is_another_system_disk(make_site: MakeSite, project: Path) -> None:
    def disks(edits: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
        volumes = run(make_site("stage", edits), project).of("Volume")
        return {name: volumes[f"{name}-system"].inputs["name"] for name in FIVE}

    before = disks(OWN)
    after = disks({"Pulumi.prod.yaml": {"10.20.0.31": "10.20.0.99"}})
    assert {name for name in FIVE if before[name] != after[name]} == {"db1"}


def test_the_data_disk_is_made_as_asked_and_not_from_the_template(stage: Graph) -> None:
    data = stage.one("Volume", "db1-data")
    assert data.inputs["size"] == 2 * 1024**3
    assert not any(item.startswith("Template") for item in stage.before(data))


def test_a_bigger_data_disk_is_the_same_disk_made_bigger(make_site: MakeSite, project: Path) -> None:
    before = run(make_site("stage"), project)
    after = run(make_site("stage", {"Pulumi.prod.yaml": {"data_disk: 2GiB": "data_disk: 3GiB"}}), project)
    assert differing(before, after) == {
        what.format(name)
        for name in ("db1", "db2")
        for what in (
            "DataDisk {}-data: size_mib",
            "Filesystem {}:/srv: disk_mib",
            "Boot {}: sizes",
            "Boot {}: data_disk_mib",
        )
    }
    assert after.one("Volume", "db1-data").ignored == {"size", "xml"}
    disk, inside = after.one("DataDisk", "db1-data"), after.one("Filesystem", "db1:/srv")
    assert {"Domain db1", "Volume db1-data"} <= after.before(disk)
    assert "DataDisk db1-data" in after.before(inside)
    assert "Boot db1" in after.before(disk), "a disk that changes while its machine boots may keep it from booting"
    assert (disk.inputs["size_mib"], disk.inputs["key"]) == (3072, "Pulumi.prod.yaml: machines.db1.data_disk")
    assert disk.inputs["path"] == "/var/lib/understudy/stacks/stage/db1-data.qcow2"
    smaller = {"Pulumi.stage.yaml": {"config:\n": "config:\n  understudy:at_most: {data_disk: 1GiB}\n"}}
    limited = run(make_site("stage", smaller), project)
    assert {disk.inputs["key"] for disk in limited.of("DataDisk").values()} == {"Pulumi.stage.yaml: at_most.data_disk"}
    more = run(make_site("stage", {"Pulumi.prod.yaml": {"data_disk: 3GiB": "data_disk: 4GiB"}}), project)
    assert differing(limited, more) == {"Boot db1: sizes", "Boot db2: sizes"}
    assert "sizes" in kinds()["understudy:index:Boot"].ignored, "what a limited stage does not get is not rehearsed"


def test_the_store_is_filled_from_the_pinned_snapshot(stage: Graph, untouched: Path) -> None:
    primary = stage.one("PostgresPrimary", "shop").inputs
    assert primary["snapshot"] == "20261123-010000F"
    assert primary["seed"] == {
        "kind": "pgbackrest",
        "location": "samples/pgbackrest",
        "stanza": "shop",
        "endpoint": "",
        "region": "",
    }
    assert primary["project_directory"] == str(untouched)
    assert primary["snapshot_digest"] == "ab" * 32
    assert primary["replica_addresses"] == ["10.20.0.32"]
    assert primary["expected_tables"] == ["customers", "orders", "products"]
    assert primary["domain"] == "stage-db1"


OTHER_ENGINES = """
    papers:
      engine: files
      database: papers
      owner: papers
      primary: db2
      backup: {kind: files, path: backups/papers}
    wiki:
      engine: mariadb
      version: "10.11"
      database: wiki
      owner: wiki
      primary: db2
      expected_tables: [pages]
      backup: {kind: mysqldump, path: backups/wiki}
"""


def test_other_engines(make_site: MakeSite, project: Path) -> None:
    edits = {"Pulumi.prod.yaml": {"  understudy:stores:\n": f"  understudy:stores:\n{OTHER_ENGINES}"}}
    graph = run(make_site("prod", edits), project)
    wiki, papers = graph.one("MariadbPrimary", "wiki"), graph.one("FilesStore", "papers")
    assert (papers.inputs["directory"], papers.inputs["owner"]) == ("papers", "papers")
    assert (wiki.inputs["database"], wiki.inputs["expected_tables"]) == ("wiki", ["pages"])
    assert "owner_password" in wiki.secret
    assert {"Filesystem db2:/srv"} <= graph.before(wiki) & graph.before(papers)
    assert wiki.protected
    assert papers.protected
    assert "papers-owner" not in graph.of("Password")


def test_mariadbs_settings_are_a_service_beside_those_of_another_engine(make_site: MakeSite, project: Path) -> None:
    stores = OTHER_ENGINES.replace("primary: db2", "primary: db1")
    edits = {"Pulumi.prod.yaml": {"  understudy:stores:\n": f"  understudy:stores:\n{stores}"}}
    (project / "services/mariadb").mkdir()
    service = "description: x\nstore:\n  engine: mariadb\n  settings: {max_connections: '60'}\n"
    (project / "services/mariadb/service.yaml").write_text(service)
    graph = run(make_site("prod", edits), project)
    inputs, path = graph.one("Service", "db1:mariadb").inputs, "/etc/mysql/mariadb.conf.d/80-site.cnf"
    assert "max_connections = 60\n" in inputs["files"][path]["content"]
    assert inputs["units"] == {"mariadb.service": {"restart_on": [path]}}
    assert set(inputs["validate"]) == {path}
    assert [check["name"] for check in inputs["checks"]] == ["it serves"]
    assert "MariadbPrimary wiki" in graph.before(graph.one("Service", "db1:mariadb"))
    assert "db1:postgresql" in graph.of("Service")
    assert graph.one("MariadbPrimary", "wiki").inputs["settings"] == {"max_connections": "60"}
    (project / "services/mariadb/service.yaml").write_text(service.replace("'60'", "'{{ \"\\0\" }}'"))
    with pytest.raises(ConfigurationError, match=r"mariadb/service.yaml: store\.settings: found .*no zero byte"):
        make_site("prod")


def test_a_mirror_does_not_archive_and_has_no_heartbeat(stage: Graph) -> None:
    assert not {name for name in stage.one("PostgresPrimary", "shop").inputs["settings"] if "archive" in name}
    assert not any("heartbeat" in name or "pgbackrest" in name for name in stage.of("Service"))


def test_prod_begins_with_the_samples_and_takes_backups(prod: Graph) -> None:
    primary = prod.one("PostgresPrimary", "shop").inputs
    assert (primary["seed"], primary["snapshot"]) == ({"kind": "init"}, "")
    assert "INSERT INTO products" in primary["init_sql"]
    assert primary["settings"]["archive_mode"] == "on"
    assert primary["settings"]["archive_command"] == "pgbackrest --stanza=shop archive-push %p"
    for service in ("db1:heartbeat", "db1:pgbackrest"):
        assert "PostgresPrimary shop" in prod.before(prod.one("Service", service))


def test_a_prod_without_backups_does_not_archive(make_site: MakeSite, project: Path) -> None:
    backup = "      backup: {kind: pgbackrest, path: samples/pgbackrest, stanza: shop}\n"
    edits = {"Pulumi.prod.yaml": {backup: "", "    pgbackrest: [db1]\n": ""}}
    settings = run(make_site("prod", edits), project).one("PostgresPrimary", "shop").inputs["settings"]
    assert (settings["archive_mode"], settings["archive_command"]) == ("off", "")


def test_what_keeps_data_is_protected_in_prod_only(stage: Graph, prod: Graph) -> None:
    assert not [item.name for item in stage.resources if item.protected]
    assert {item.name for item in prod.resources if item.protected} == {*prod.of("Volume"), "shop", "shop-db2"}


def test_prod_can_be_unprotected(make_site: MakeSite, project: Path) -> None:
    edits = {"Pulumi.prod.yaml": {"config:\n": "config:\n  understudy:protect: false\n"}}
    assert not [item for item in run(make_site("prod", edits), project).resources if item.protected]


def test_only_the_host_key_that_we_made_is_trusted(stage: Graph) -> None:
    for boot in stage.of("Boot").values():
        assert boot.inputs["connection"]["host_key"] == "ssh-ed25519 AAAAkey"
        assert {"host_private_key", "private_key"} <= boot.secret


def test_passwords_stay_secret_and_are_in_no_other_text(stage: Graph) -> None:
    password = str(OUTPUTS["Password"]["value"])
    for item in stage.resources:
        for key, value in item.inputs.items():
            if password in str(value):
                assert key in item.secret or item.type.startswith("pulumi:pulumi:Stack"), f"{item.name}: {key}"
    app, haproxy = stage.one("Service", "app1:app"), stage.one("Service", "lb:haproxy")
    assert "PGPASSWORD=@@password of shop@@\n" in app.inputs["files"]["/etc/app/app.env"]["content"]
    assert app.inputs["secrets"] == {"password of shop": password}
    assert "files" not in app.secret | haproxy.secret
    assert haproxy.inputs["secrets"] == {}
    assert password not in str(stage.outputs)


def test_identities_name_every_machine(stage: Graph) -> None:
    identity = stage.one("Boot", "db1").inputs["identity"]
    assert {"address": "10.20.0.10", "names": ["lb.shop.example", "lb"]} in identity["hosts"]
    assert identity["cards"]["mirror"]["address"] == "10.20.0.31"
    assert len({boot.inputs["identity"]["cards"]["control"]["mac"] for boot in stage.of("Boot").values()}) == len(FIVE)


def test_the_spare_is_a_backup_in_the_load_balancer(stage: Graph) -> None:
    text = stage.one("Service", "lb:haproxy").inputs["files"]["/etc/haproxy/haproxy.cfg"]["content"]
    assert "server app1 10.20.0.21:8000\n" in text
    assert "server app2 10.20.0.22:8000 backup\n" in text


def test_pages_are_asked_for_one_after_the_other(stage: Graph) -> None:
    last = stage.one("HttpCheck", "front-without-app1")
    assert {"HttpCheck front", "HttpCheck app1-app-health", "PostgresReplica shop-db2"} <= stage.before(last)
    assert last.inputs["stopping"][0]["unit"] == "app.service"
    assert last.inputs["stopping"][0]["connection"]["name"] == "app1"


def test_every_page_is_asked_for_anew_after_any_change_of_a_service(
    make_site: MakeSite, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def known() -> set[str]:
        pages = run(make_site("stage"), project).of("HttpCheck").values()
        (same,) = {tuple(page.inputs["recheck_on"]) for page in pages}
        return set(same)

    before, changed = known(), {**OUTPUTS["Service"], "backup": "/root/configs/a/20261124T020000Z-0123456789ab"}
    assert known() == before
    monkeypatch.setitem(OUTPUTS, "Service", changed)
    assert known() != before


def test_the_report_comes_last_and_knows_everything(stage: Graph, untouched: Path) -> None:
    report = stage.one("Report", "report")
    assert {f"HttpCheck {name}" for name in stage.of("HttpCheck")} <= stage.before(report)
    assert report.inputs["path"] == str(untouched / "reports/stage/report.html")
    assert report.inputs["document"]["restores"][0]["data_age_seconds"] == 93


def test_the_outputs(stage: Graph) -> None:
    assert set(stage.outputs) == {"machines", "accelerator", "seeds", "checks", "report"}
    assert stage.outputs["machines"]["db1"] == {
        "address": "10.20.0.31",
        "control_address": "198.18.7.13",
        "role": "primary, cron, sysctl",
        "started": "warm",
        "why": "",
    }
    roles = {name: machine["role"] for name, machine in stage.outputs["machines"].items()}
    assert (roles["app1"], roles["app2"]) == ("application", "application, spare")
    assert stage.outputs["accelerator"] == "tcg: no hardware virtualisation that works"
    assert stage.outputs["seeds"]["shop"]["taken_at"] == "2026-11-23T01:00:00Z"


def test_of_existing_machines_only_services_are_touched(make_site: MakeSite, project: Path) -> None:
    existing = "      vcpus: 2\n      existing: {host: db.example, user: admin, sudo: true, jump: gate.example}\n"
    edits = {"Pulumi.prod.yaml": {"      vcpus: 2\n": existing, "    app: [app1, app2]\n": ""}}
    graph = run(make_site("prod", edits), project)
    assert set(graph.of("Domain")) == {"lb", "app1", "app2"}
    there = [item for item in graph.resources if item.inputs.get("connection", {}).get("name") in ("db1", "db2")]
    assert {item.type for item in there} == {"understudy:index:Service"}
    for item in there:
        assert (item.protected, item.retained, item.deleted_with) == (True, True, "")
        assert (item.inputs["adopt"], item.inputs["private_key"], item.inputs["generation"]) == (True, "", "")
        reached = {key: item.inputs["connection"][key] for key in ("address", "user", "sudo", "jump", "host_key")}
        assert reached == {
            "address": "db.example",
            "user": "admin",
            "sudo": True,
            "jump": "gate.example",
            "host_key": "",
        }
    built = graph.one("Service", "lb:haproxy")
    assert (built.protected, built.retained, "adopt" in built.inputs) == (False, False, False)
    assert not graph.of("PostgresPrimary")
    services = "cron, heartbeat, pgbackrest, sysctl"
    assert graph.outputs["machines"]["db1"]["existing"] == f"left alone, but for its services: {services}"


def test_a_service_is_adopted_only_where_it_is_in_the_baseline(make_site: MakeSite, project: Path) -> None:
    edits = {"Pulumi.prod.yaml": {"      vcpus: ": "      existing: true\n      vcpus: "}}
    site = make_site("prod", edits)
    anna = make_signer(project, "anna")
    put(project, "prod", anna, "baseline", {"services": {"haproxy": "a" * 64}})
    adopted = {name: item.inputs["adopt"] for name, item in run(site, project).of("Service").items()}
    assert {name for name in adopted if adopted[name]} == {"lb:haproxy"}
    assert "db1:cron" in adopted


def test_a_prod_that_exists_whole_makes_no_machine_and_leaves_passwords_alone(
    make_site: MakeSite, project: Path
) -> None:
    edits = {"Pulumi.prod.yaml": {"      vcpus: ": "      existing: true\n      vcpus: "}}
    site = make_site("prod", edits)
    graph = run(site, project)
    assert not [item.type for item in graph.resources if item.type.startswith("libvirt")]
    assert not graph.of("PostgresPrimary")
    pages = graph.of("HttpCheck").values()
    assert not [item for item in pages if item.inputs.get("stopping")], "nothing of theirs is stopped"
    assert "app1:app" not in graph.of("Service")
    assert (
        "not described, since its files hold a store's password: app" in graph.outputs["machines"]["app1"]["existing"]
    )
    assert "app" not in site.digests


def test_a_service_needs_root_on_an_existing_machine(make_site: MakeSite) -> None:
    existing = "      vcpus: 2\n      existing: {host: db.example, user: admin}\n"
    edits = {"Pulumi.prod.yaml": {"      vcpus: 2\n": existing, "    app: [app1, app2]\n": ""}}
    with pytest.raises(ConfigurationError, match=r"(?s)machines.db1.existing: .*admin, who is not root.*sudo: true"):
        make_site("prod", edits)


def test_its_stage_is_built_all_the_same(make_site: MakeSite, project: Path) -> None:
    edits = {"Pulumi.prod.yaml": {"      vcpus: ": "      existing: true\n      vcpus: "}}
    assert set(run(make_site("stage", edits), project).of("Domain")) == FIVE


def test_the_graph_is_the_same_twice(make_site: MakeSite, project: Path) -> None:
    def shape(graph: Graph) -> list[tuple[str, str, frozenset[str]]]:
        return sorted((item.urn, str(item.inputs), item.dependencies) for item in graph.resources)

    assert shape(run(make_site("stage"), project)) == shape(run(make_site("stage"), project))


def test_two_stacks_share_no_name_on_the_host(stage: Graph, prod: Graph) -> None:
    def names(graph: Graph) -> set[str]:
        boots, fence = graph.of("Boot").values(), graph.one("Fence", "fence").inputs
        cards = [boot.inputs["identity"]["cards"][card]["mac"] for boot in boots for card in ("control", "mirror")]
        networks = [graph.libvirt_network(card).inputs["name"] for card in ("control", "mirror")]
        domains = [item.inputs["name"] for item in graph.of("Domain").values()]
        uuids = [boot.inputs["uuid"] for boot in boots]
        pool = graph.one("Pool", "pool").inputs["target"]["path"]
        return {*cards, *networks, *domains, *uuids, pool, fence["mirror_bridge"], fence["control_bridge"]}

    assert not names(stage) & names(prod)


@pytest.mark.parametrize(
    ("token", "inputs"),
    [
        ("understudy:index:Service", {"service": "a", "filse": {}}),
        ("libvirt:index/domain:Domain", {"memroy": 512}),
        ("libvirt:index/domain:Domain", {"disks": [{"volumeID": "a"}]}),
        ("azure:compute/linuxVirtualMachine:LinuxVirtualMachine", {}),
    ],
)
def test_the_double_refuses_what_the_providers_refuse(token: str, inputs: dict[str, object]) -> None:
    with pytest.raises(AssertionError):
        check(token, inputs)
