"""`understudy sample`: the repository in Git made anew by a prod that lives, and a stage's store filled from it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from jinja2 import Template

from cli.__main__ import main
from cli.files import load_environment
from cli.pulumi_state import PulumiState
from cli.sample import MOST_BYTES, sample_store
from components.site import read_services, read_sources
from components.templates import Renderer
from model.topology import Backup
from provisioners.shell import close_all, connect
from provisioners.stores import postgresql
from provisioners.stores.kind import SeededStore
from provisioners.stores.repository import open_repository
from provisioners.stores.sample import LIVES
from tests.stores.machines import PROJECT, Said, StoreMachine, postgres_inputs

KIND = SeededStore(postgresql)
DIGEST = "SELECT count(*), md5(string_agg(o::text, '|' ORDER BY id)) FROM orders AS o"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with the sample's description and services, and something else where the repository will lie."""
    for name in ("Pulumi.yaml", "Pulumi.prod.yaml", "Pulumi.stage.yaml"):
        shutil.copy(PROJECT / name, tmp_path)
    shutil.copytree(PROJECT / "services", tmp_path / "services")
    (tmp_path / "samples/pgbackrest").mkdir(parents=True)
    (tmp_path / "samples/pgbackrest/of before").touch()
    return tmp_path


@pytest.fixture
def prod(project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StoreMachine]:
    """The sample prod's db1, as its state says how it is reached."""
    environment = load_environment(project, "prod")
    services = read_services(project)
    sources = read_sources(project, services)
    store, backup = sample_store(environment)
    rendered = Renderer(environment=environment, services=services, locks={}, sources=sources, faults=[]).engine(store)
    settings = {**dict(rendered.settings), "listen_addresses": ""}
    words = {"services": {"pgbackrest": {"repository": "/srv/pgbackrest", "keep_full": 2}}}
    text = (project / "services/pgbackrest/pgbackrest.conf.j2").read_text()
    conf = Template(text).render(**words, stores={"shop": {"backup": {"stanza": backup.stanza}}})
    with StoreMachine("db1") as machine, connect(machine.connection, machine.private_key, print) as shell:
        shell.run(("chmod", "0700", "/root"))  # as on a real machine; commands begin there
        shell.put(conf.encode(), "/etc/pgbackrest.conf", mode="0640", group="postgres")
        shell.run(("install", "-d", "-o", "postgres", "-g", "postgres", "-m", "0750", "/srv/pgbackrest"))
        inputs = postgres_inputs(machine, {"kind": "init"}, project, settings=settings, init_sql=rendered.init)
        KIND.create({**inputs, "expected_tables": []}, Said())
        boot = {
            "urn": "urn:pulumi:prod::understudy::understudy:index:Boot::db1",
            "type": "understudy:index:Boot",
            "outputs": {"connection": machine.connection.values(), "private_key": machine.private_key},
        }
        monkeypatch.setattr(PulumiState, "__enter__", lambda self: self)
        monkeypatch.setattr(PulumiState, "__exit__", lambda self, *_: None)
        monkeypatch.setattr(PulumiState, "exported", {"deployment": {"resources": [boot]}})
        yield machine
    close_all()


def test_prod_makes_it_anew_and_a_store_is_filled_from_it(
    prod: StoreMachine, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sample", "-C", str(project)]) == 0
    repository = project / "samples/pgbackrest"
    labels = sorted(path.name for path in (repository / "backup/shop").iterdir() if path.is_dir())
    printed = capsys.readouterr().out
    assert [(label[-1], f"{label} of " in printed) for label in labels] == [("F", True), ("D", True), ("I", True)]
    assert [path.name for path in (project / "samples").iterdir()] == ["pgbackrest"]
    assert not (repository / "of before").exists()
    assert sum(path.stat().st_size for path in repository.rglob("*") if path.is_file()) < MOST_BYTES
    assert prod.shell("ls", "/srv/pgbackrest/backup/shop").split()[:3] == labels, "prod's own repository stays"
    assert "sample" not in prod.shell("ls", "/var/lib/postgresql")
    seed = {"kind": "pgbackrest", "location": "samples/pgbackrest", "stanza": "shop"}
    opened = open_repository(Backup(**seed), project)
    pin = {"snapshot": labels[-1], "snapshot_digest": opened.digest(labels[-1])}
    with StoreMachine("db2") as stage:
        outputs = KIND.create(postgres_inputs(stage, seed, project, **pin), Said())[1]
        assert [check["name"] for check in outputs["checks"] if not check["ok"]] == []
        assert 0 <= outputs["data_age_seconds"] < 900
        assert stage.sql(DIGEST) == prod.sql(DIGEST)
        assert stage.sql("SELECT count(*) FROM orders") == str(4000 + sum(life.orders for life in LIVES))
