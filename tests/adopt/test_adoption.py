"""Odd machines: what is found is kept, what is not becomes a question at the very key that the reader refuses."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_address, ip_interface
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.files import stack_file
from model.adoption import Adoption, adopt, file_text
from model.configuration import StackFile, read_environment
from model.errors import ConfigurationError
from model.facts import (
    Address,
    Block,
    Database,
    Filesystem,
    HostFacts,
    KnownHost,
    Listener,
    ProxyServer,
    Repository,
    Server,
    Table,
    Unit,
    Unread,
    Upstream,
)
from model.readers import plain_key
from model.topology import Access

GIB = 1024**3
KNOWN = frozenset({"haproxy", "app", "heartbeat", "sshd", "limits", "tools"})
FILES = {"sshd": ("/etc/ssh/sshd_config.d/a.conf",), "limits": ("/etc/limits.d/a", "/etc/limits.d/b"), "tools": ()}
UNITS = {
    "haproxy.service": "haproxy",
    "app.service": "app",
    "heartbeat.service": "heartbeat",
    "shop-backup.service": "",
}

SHOP = Database(
    name="shop",
    owner="shop",
    size_bytes=3 * GIB,
    tables=(
        Table(schema="public", name="orders", owner="shop", filled=True),
        Table(schema="public", name="queue", owner="shop", filled=False),
        Table(schema="public", name="heartbeat", owner="shop", filled=True, moments=("beat_at",)),
    ),
)
PRIMARY = Server(
    engine="postgresql",
    port=5432,
    version="15",
    data_directory="/srv/postgresql/current",
    replica=False,
    databases=(Database(name="postgres", owner="postgres", size_bytes=7_000_000), SHOP),
    identifier="7",
    stanza="shop",
    mount="/srv",
)


def host(name: str, *addresses: str, **more: Any) -> HostFacts:
    """Return a machine that told everything; the first address is the one by which it was reached."""
    cards = tuple(Address(card=f"eth{number}", interface=ip_interface(text)) for number, text in enumerate(addresses))
    usual: dict[str, Any] = {
        "access": Access(host=addresses[0].partition("/")[0]) if addresses else Access(host="gone.example"),
        "hostname": name,
        "fqdn": f"{name}.shop.example",
        "vcpus": 4,
        "memory_mib": 7900,
        "installed_mib": 8192,
        "system": "debian 12",
        "blocks": (
            Block(name="sda", kind="disk", size_bytes=100 * GIB),
            Block(name="sda1", kind="part", size_bytes=100 * GIB, filesystem="ext4", mount="/", parents=("sda",)),
            Block(name="sdb", kind="disk", size_bytes=50 * GIB, filesystem="ext4", mount="/srv"),
        ),
        "addresses": cards,
    }
    return HostFacts(**{**usual, **more})


def replica_of(upstream: str, **more: Any) -> Server:
    follows = Upstream(host=upstream, port=5432)
    return replace(PRIMARY, replica=True, upstream=follows, **more)


def adopted(*facts: HostFacts) -> Adoption:
    """Adopt machines, and check what always holds: the questions' keys are refused, no others; the file can be read."""
    adoption = adopt(facts, stack="prod", units=UNITS, files=FILES, known_services=KNOWN)
    assert refused(adoption) == {".".join(plain_key(key) for key in each.path) for each in adoption.questions()}
    file = stack_file("Pulumi.prod.yaml", file_text(adoption, command="understudy adopt x"))
    assert not file.faults
    assert file.config == adoption.config
    return adoption


def refused(adoption: Adoption) -> set[str]:
    """Return the keys that the reader refuses; a comment stands at a list, not at one of its items."""
    try:
        read_environment({"prod": StackFile(name="f", config=adoption.config)}, "prod", services=KNOWN)
    except ConfigurationError as error:
        return {re.sub(r"(replicas|expected_tables)\.\d+$", r"\1", fault.key) for fault in error.faults}
    return set()


def at(adoption: Adoption, *path: str) -> Any:
    value: Any = adoption.config
    for key in path:
        value = value[key]
    return value


def questions(adoption: Adoption) -> dict[str, str]:
    return {question.key: question.text for question in adoption.questions()}


def notes(adoption: Adoption) -> str:
    return "\n".join(f"{remark.key}: {remark.text}" for remark in adoption.remarks if not remark.asked)


def test_a_service_that_runs_no_unit_is_told_by_its_files_or_not_at_all() -> None:
    adoption = adopted(
        host("a", "10.0.0.1/24", files=("/etc/ssh/sshd_config.d/a.conf", "/etc/limits.d/a")),
        host("b", "10.0.0.2/24", files=("/etc/limits.d/a", "/etc/limits.d/b")),
    )
    assert at(adoption, "services") == {"limits": ["b"], "sshd": ["a"]}
    assert "services/tools: no machine tells whether it has it." in notes(adoption)
    assert "services/sshd" not in notes(adoption)


def test_primary_and_replica_become_one_store() -> None:
    adoption = adopted(
        host("db2", "10.0.0.2/24", servers=(replica_of("10.0.0.1"),)),
        host("db1", "10.0.0.1/24", servers=(replace(PRIMARY, followers=("10.0.0.2",)),)),
    )
    assert at(adoption, "stores") == {
        "shop": {
            "engine": "postgresql",
            "version": "15",
            "database": "shop",
            "owner": "shop",
            "primary": "db1",
            "replicas": ["db2"],
            "expected_tables": ["orders"],
            "heartbeat": {"table": "heartbeat", "column": "beat_at"},
            "backup": {"kind": "pgbackrest", "path": "?", "stanza": "shop"},
        }
    }
    assert list(at(adoption, "machines")) == ["db1", "db2"]
    assert at(adoption, "machines", "db1") == {
        "address": "10.0.0.1",
        "vcpus": 4,
        "memory": "8GiB",
        "system_disk": "100GiB",
        "data_disk": "50GiB",
        "existing": {"host": "10.0.0.1"},
    }


@pytest.mark.parametrize(
    "link",
    [
        {"upstream": Upstream(host="db1", port=5432)},
        {"upstream": Upstream(host="DB1.shop.example", port=5432)},
        {"upstream": Upstream(host="primary.internal", port=5432)},
        {"upstream": Upstream(host="10.0.0.1", port=6432)},
        {"upstream": Upstream(host="192.0.2.99", port=5432)},
        {"upstream": None},
    ],
)
def test_a_primary_is_found_by_name_by_its_hosts_file_by_its_port_or_by_its_data(link: dict[str, Any]) -> None:
    known = (KnownHost(address=ip_address("10.0.0.1"), names=("primary.internal", "primary")),)
    replica = replace(PRIMARY, replica=True, **link)
    adoption = adopted(
        host("db1", "10.0.0.1/24", servers=(PRIMARY,)), host("db2", "10.0.0.2/24", servers=(replica,), hosts=known)
    )
    assert at(adoption, "stores", "shop", "primary") == "db1"
    assert at(adoption, "stores", "shop", "replicas") == ["db2"]


def test_who_follows_is_found_on_the_primary_too() -> None:
    silent = replace(PRIMARY, replica=True, upstream=None, identifier="")
    adoption = adopted(
        host("db1", "10.0.0.1/24", servers=(replace(PRIMARY, followers=("10.0.0.2",), identifier=""),)),
        host("db2", "10.0.0.2/24", servers=(silent,)),
    )
    assert at(adoption, "stores", "shop", "replicas") == ["db2"]


def test_a_chain_of_replicas_ends_at_the_primary_and_is_told() -> None:
    adoption = adopted(
        host("db1", "10.0.0.1/24", servers=(PRIMARY,)),
        host("db2", "10.0.0.2/24", servers=(replica_of("10.0.0.1"),)),
        host("db3", "10.0.0.3/24", servers=(replica_of("10.0.0.2"),)),
    )
    assert at(adoption, "stores", "shop", "replicas") == ["db2", "db3"]
    assert "db3 follows db2; in a mirror it follows the primary" in notes(adoption)


def test_replicas_that_follow_each_other_are_a_question_and_no_endless_search() -> None:
    adoption = adopted(
        host("db1", "10.0.0.1/24", servers=(replica_of("10.0.0.2"),)),
        host("db2", "10.0.0.2/24", servers=(replica_of("10.0.0.1"),)),
    )
    assert "stores.shop.primary" in questions(adoption)


def test_a_replica_of_a_stranger_asks_for_its_primary() -> None:
    adoption = adopted(host("db2", "10.0.0.2/24", servers=(replica_of("10.9.9.9"),)))
    assert "10.9.9.9 port 5432, which is none of these machines" in questions(adoption)["stores.shop.primary"]
    assert at(adoption, "stores", "shop", "replicas") == ["db2"]


def test_a_follower_that_was_not_named_is_told() -> None:
    adoption = adopted(host("db1", "10.0.0.1/24", servers=(replace(PRIMARY, followers=("10.0.0.7",)),)))
    assert "10.0.0.7 streams from it, and is none of these machines" in notes(adoption)


def test_two_replicas_on_one_machine_are_a_question() -> None:
    second = replica_of("10.0.0.1", port=5433)
    adoption = adopted(
        host("db1", "10.0.0.1/24", servers=(PRIMARY,)),
        host("db2", "10.0.0.2/24", servers=(replica_of("10.0.0.1"), second)),
    )
    assert "each only once" in questions(adoption)["stores.shop.replicas"]


def test_two_primaries_with_one_history_are_two_stores() -> None:
    adoption = adopted(host("db1", "10.0.0.1/24", servers=(PRIMARY,)), host("old", "10.0.0.2/24", servers=(PRIMARY,)))
    assert list(at(adoption, "stores")) == ["shop", "shop-2"]


def test_several_clusters_on_one_machine_are_a_question() -> None:
    second = replace(PRIMARY, port=5433, databases=(replace(SHOP, name="crm"),), identifier="8", stanza="crm")
    stopped = replace(PRIMARY, port=5434, running=False, version="11")
    adoption = adopted(host("db1", "10.0.0.1/24", servers=(PRIMARY, second, stopped)))
    assert "postgresql on db1" in questions(adoption)["stores.shop"] or "stores.crm" in questions(adoption)
    assert "PostgreSQL 11 at port 5434 does not run; it was left out" in notes(adoption)


def test_a_replica_follows_the_right_one_of_several_clusters() -> None:
    crm = replace(PRIMARY, port=5433, databases=(replace(SHOP, name="crm"),), identifier="8", stanza="crm")
    follower = replace(crm, port=5432, replica=True, upstream=Upstream(host="10.0.0.1", port=5433))
    adoption = adopted(
        host("db1", "10.0.0.1/24", servers=(PRIMARY, crm)), host("db2", "10.0.0.2/24", servers=(follower,))
    )
    assert at(adoption, "stores", "crm", "replicas") == ["db2"]
    assert "replicas" not in at(adoption, "stores", "shop")


def test_of_several_databases_the_user_chooses() -> None:
    server = replace(PRIMARY, databases=(*PRIMARY.databases, replace(SHOP, name="wiki", size_bytes=GIB)))
    adoption = adopted(host("db1", "10.0.0.1/24", servers=(server,)))
    assert questions(adoption)["stores.shop.database"].startswith("It holds shop (3.0 GiB) and wiki (1.0 GiB).")
    assert at(adoption, "stores", "shop", "database") == "?"


def test_a_server_with_nothing_in_it_is_left_out() -> None:
    adoption = adopted(host("db1", "10.0.0.1/24", servers=(replace(PRIMARY, databases=PRIMARY.databases[:1]),)))
    assert "stores" not in adoption.config
    assert "holds no database; it was left out" in notes(adoption)


def test_a_superuser_is_not_taken_for_the_owner() -> None:
    owned = replace(SHOP, owner="postgres")
    adoption = adopted(host("db1", "10.0.0.1/24", servers=(replace(PRIMARY, databases=(owned,)),)))
    assert at(adoption, "stores", "shop", "owner") == "shop"
    tables = tuple(replace(table, owner="postgres") for table in SHOP.tables)
    owned = replace(SHOP, owner="postgres", tables=tables)
    adoption = adopted(host("db1", "10.0.0.1/24", servers=(replace(PRIMARY, databases=(owned,)),)))
    assert "stores.shop.owner" in questions(adoption)


def test_a_server_that_could_not_be_asked_is_asked_about() -> None:
    dumb = Server(engine="postgresql", port=5432, mount="/srv")
    unread = (Unread(fact="PostgreSQL settings, port 5432", reason="sudo: a password is required"),)
    adoption = adopted(host("db1", "10.0.0.1/24", servers=(dumb,), unread=unread))
    keys = {"version", "database", "owner", "primary", "backup.kind", "backup.path"}
    assert set(questions(adoption)) == {f"stores.postgresql.{key}" for key in keys}
    assert "sudo: a password is required" in notes(adoption)


def test_names_that_the_configuration_does_not_take_are_questions() -> None:
    tables = (
        Table(schema="public", name="Orders 2019", owner="shop", filled=True),
        Table(schema="Sales", name="x", owner="shop", filled=True),
        Table(schema="sales", name="orders", owner="shop", filled=True),
    )
    server = replace(PRIMARY, databases=(replace(SHOP, name="my-shop", owner="Shop Owner", tables=tables),))
    adoption = adopted(host("db1", "10.0.0.1/24", servers=(server,)))
    asked = questions(adoption)
    assert 'It has "my-shop"' in asked["stores.my-shop.database"]
    assert 'It has "Shop Owner"' in asked["stores.my-shop.owner"]
    assert at(adoption, "stores", "my-shop", "expected_tables") == ["sales.orders"]
    assert "Orders 2019 and Sales.x" in notes(adoption)


def test_of_several_columns_of_a_heartbeat_the_user_chooses() -> None:
    beats = Table(schema="ops", name="heartbeat", owner="shop", filled=True, moments=("created", "seen"))
    server = replace(PRIMARY, databases=(replace(SHOP, tables=(beats,)),))
    adoption = adopted(host("db1", "10.0.0.1/24", servers=(server,)))
    assert at(adoption, "stores", "shop", "heartbeat") == {"table": "ops.heartbeat", "column": "?"}
    assert "created and seen" in questions(adoption)["stores.shop.heartbeat.column"]


@pytest.mark.parametrize(
    ("repositories", "backup"),
    [
        (
            (Repository(stanza="shop", kind="path", location="/srv/pgbackrest"),),
            {"kind": "pgbackrest", "path": "?", "stanza": "shop"},
        ),
        (
            (Repository(stanza="other", kind="path", location="/x", data_directories=("/srv/postgresql/current",)),)
            * 1,
            {"kind": "pgbackrest", "path": "?", "stanza": "other"},
        ),
        (
            (
                Repository(
                    stanza="shop",
                    kind="s3",
                    location="s3://backups/shop",
                    endpoint="s3.eu-central-1.amazonaws.com",
                    region="eu-central-1",
                ),
            ),
            {"kind": "pgbackrest", "bucket": "s3://backups/shop", "region": "eu-central-1", "stanza": "shop"},
        ),
        (
            (Repository(stanza="shop", kind="s3", location="s3://backups", endpoint="minio:9000"),),
            {
                "kind": "pgbackrest",
                "bucket": "s3://backups",
                "region": "?",
                "endpoint": "https://minio:9000",
                "stanza": "shop",
            },
        ),
        (
            (Repository(stanza="shop", kind="azure", location="/x"),),
            {"kind": "pgbackrest", "path": "?", "stanza": "shop"},
        ),
        ((), {"kind": "pgbackrest", "path": "?", "stanza": "shop"}),
    ],
)
def test_where_the_backups_are(repositories: tuple[Repository, ...], backup: dict[str, str]) -> None:
    adoption = adopted(host("db1", "10.0.0.1/24", servers=(PRIMARY,), repositories=repositories))
    assert at(adoption, "stores", "shop", "backup") == backup


def test_the_backup_machine_tells_where_the_repository_is() -> None:
    keeper = Repository(stanza="shop", kind="path", location="/backup/pg")
    adoption = adopted(
        host("db1", "10.0.0.1/24", servers=(PRIMARY,)), host("backup", "10.0.0.9/24", repositories=(keeper,))
    )
    assert "backup:/backup/pg" in questions(adoption)["stores.shop.backup.path"]


def test_without_pgbackrest_the_kind_of_backup_is_asked() -> None:
    adoption = adopted(host("db1", "10.0.0.1/24", servers=(replace(PRIMARY, stanza=""),)))
    assert {"stores.shop.backup.kind", "stores.shop.backup.path"} <= set(questions(adoption))


def test_mariadb_and_its_replica() -> None:
    orders = Table(schema="shop", name="orders", owner="", filled=True)
    server = Server(
        engine="mariadb",
        port=3306,
        version="10.11",
        replica=False,
        mount="/srv",
        databases=(Database(name="shop", owner="shop", size_bytes=GIB, tables=(orders,)),),
    )
    follower = replace(server, replica=True, upstream=Upstream(host="db1", port=3306))
    adoption = adopted(host("db1", "10.0.0.1/24", servers=(server,)), host("db2", "10.0.0.2/24", servers=(follower,)))
    store = at(adoption, "stores", "shop")
    assert (store["engine"], store["version"], store["owner"], store["primary"]) == ("mariadb", "10.11", "shop", "db1")
    assert store["expected_tables"] == ["orders"]
    assert "no replicas" in questions(adoption)["stores.shop.replicas"]
    assert "mysqldump" in questions(adoption)["stores.shop.backup.path"]


def test_a_version_that_is_not_known_is_a_question() -> None:
    server = Server(engine="mariadb", port=3306, version="8.0", flavour="mysql", replica=False, mount="/srv")
    server = replace(server, databases=(Database(name="shop", owner="shop", size_bytes=1),))
    adoption = adopted(host("db1", "10.0.0.1/24", servers=(server,)))
    assert 'It has "8.0"' in questions(adoption)["stores.shop.version"]


# Networks


def test_the_network_counts_in_which_machines_speak_with_each_other() -> None:
    lb = host(
        "lb",
        "203.0.113.5/24",
        "10.0.0.5/24",
        proxied=(ProxyServer(backend="app", name="app1", host="10.0.0.6", port=8000),),
    )
    adoption = adopted(lb, host("app1", "203.0.113.6/24", "10.0.0.6/24"))
    assert at(adoption, "network") == "10.0.0.0/24"
    assert [each["address"] for each in at(adoption, "machines").values()] == ["10.0.0.5", "10.0.0.6"]
    assert at(adoption, "machines", "lb", "existing") == {"host": "203.0.113.5"}
    assert "It has 203.0.113.5/24 too" in notes(adoption)


def test_otherwise_the_one_by_which_they_were_reached() -> None:
    adoption = adopted(host("a", "10.0.0.1/24", "10.9.0.1/24"), host("b", "10.0.0.2/24", "10.9.0.2/24"))
    assert at(adoption, "network") == "10.0.0.0/24"


def test_machines_with_two_equal_networks_are_a_question() -> None:
    named = {"access": Access(host="somewhere.example")}
    adoption = adopted(
        host("a", "10.0.0.1/24", "10.9.0.1/24", **named), host("b", "10.0.0.2/24", "10.9.0.2/24", **named)
    )
    assert "10.0.0.0/24" in questions(adoption)["network"]
    assert "10.9.0.0/24" in questions(adoption)["network"]


def test_machines_of_different_networks_are_a_question_with_the_network_that_would_hold_all() -> None:
    adoption = adopted(host("lb", "10.0.1.5/24"), host("db", "10.0.2.5/24"), host("db2", "10.0.2.6/24"))
    assert questions(adoption)["network"] == (
        "Not all machines share a network: lb is not in 10.0.2.0/24. 10.0.0.0/22 would hold all."
    )
    assert {each["address"] for each in at(adoption, "machines").values()} == {"10.0.1.5", "10.0.2.5", "10.0.2.6"}


def test_networks_of_containers_links_and_our_own_control_do_not_count() -> None:
    cards = (
        Address(card="docker0", interface=ip_interface("172.17.0.1/16")),
        Address(card="br-0123456789ab", interface=ip_interface("172.18.0.1/16")),
        Address(card="virbr0", interface=ip_interface("192.168.122.1/24")),
        Address(card="eth0", interface=ip_interface("198.18.3.10/24")),
        Address(card="eth1", interface=ip_interface("fd00::1/64")),
        Address(card="ppp0", interface=ip_interface("10.8.0.1/32")),
        Address(card="bond0", interface=ip_interface("10.20.0.7/24")),
        Address(card="bond0", interface=ip_interface("10.20.0.8/24"), secondary=True),
    )
    facts = [replace(host("x"), addresses=cards), replace(host("y"), addresses=(*cards[:4], cards[0]))]
    adoption = adopted(facts[0])
    assert (at(adoption, "network"), at(adoption, "machines", "x", "address")) == ("10.20.0.0/24", "10.20.0.7")
    asked = questions(adopted(*facts))
    assert "y is not in 10.20.0.0/24" in asked["network"]


def test_a_floating_address_is_not_a_machines_own() -> None:
    cards = (
        Address(card="eth0", interface=ip_interface("10.20.0.100/32")),
        Address(card="eth0", interface=ip_interface("10.20.0.7/24")),
    )
    adoption = adopted(replace(host("lb"), addresses=cards))
    assert at(adoption, "machines", "lb", "address") == "10.20.0.7"


def test_without_any_network_everything_is_asked() -> None:
    adoption = adopted(replace(host("a"), addresses=(Address(card="eth0", interface=ip_interface("fd00::1/64")),)))
    assert set(questions(adoption)) == {"network", "machines.a.address"}


def test_machines_of_one_name_are_kept_apart() -> None:
    adoption = adopted(host("web", "10.0.0.1/24"), host("web", "10.0.0.2/24"), host("WEB_9", "10.0.0.3/24"))
    assert list(at(adoption, "machines")) == ["web", "web-2", "web-9"]
    assert "calls itself WEB_9" in notes(adoption)


@pytest.mark.parametrize(
    ("name", "wanted"), [("localhost", "m-10-0-0-1"), ("", "m-10-0-0-1"), ("9lives", "m-9lives"), ("-", "m-10-0-0-1")]
)
def test_a_machine_without_a_usable_name_gets_one(name: str, wanted: str) -> None:
    assert list(at(adopted(host(name, "10.0.0.1/24")), "machines")) == [wanted]


def test_the_domain_is_read_from_long_names_or_asked() -> None:
    assert at(adopted(host("a", "10.0.0.1/24")), "domain") == "shop.example"
    known = (KnownHost(address=ip_address("127.0.1.1"), names=("a.old.example", "a")),)
    assert at(adopted(host("a", "10.0.0.1/24", fqdn="a", hosts=known)), "domain") == "old.example"
    assert "domain" in questions(adopted(host("a", "10.0.0.1/24", fqdn="a.localdomain")))
    mixed = adopted(host("a", "10.0.0.1/24"), host("b", "10.0.0.2/24", fqdn="b.other.example"))
    assert "The machines are in other.example and shop.example" in notes(mixed)


# Sizes


def test_what_is_not_told_is_asked() -> None:
    adoption = adopted(
        host("a", "10.0.0.1/24", vcpus=None, memory_mib=None, installed_mib=None, blocks=(), filesystems=())
    )
    assert set(questions(adoption)) == {f"machines.a.{key}" for key in ("vcpus", "memory", "system_disk")}


def test_sizes_outside_what_is_taken_are_questions() -> None:
    adoption = adopted(host("a", "10.0.0.1/24", vcpus=192))
    assert "It has 192" in questions(adoption)["machines.a.vcpus"]


def test_memory_without_the_firmwares_table_is_rounded_up_and_told() -> None:
    adoption = adopted(host("a", "10.0.0.1/24", memory_mib=64261, installed_mib=None))
    assert at(adoption, "machines", "a", "memory") == "64GiB"
    assert "the kernel manages 64261 MiB" in notes(adoption)


def test_in_a_container_the_firmwares_table_is_the_hosts() -> None:
    adoption = adopted(host("a", "10.0.0.1/24", memory_mib=4096, installed_mib=262144))
    assert at(adoption, "machines", "a", "memory") == "4GiB"


def test_data_on_the_systems_disk_gets_a_disk_of_its_own_with_room() -> None:
    adoption = adopted(host("a", "10.0.0.1/24", servers=(replace(PRIMARY, mount="/"),), blocks=host("a").blocks[:2]))
    assert at(adoption, "machines", "a", "data_disk") == "7GiB"
    assert "with room to double" in notes(adoption)


def test_where_data_lies_is_asked_where_it_is_not_known() -> None:
    adoption = adopted(host("a", "10.0.0.1/24", servers=(replace(PRIMARY, mount=""),)))
    assert "machines.a.data_disk" in questions(adoption)


def test_a_system_on_zfs_is_measured_by_its_file_system() -> None:
    filesystems = (Filesystem(source="rpool/ROOT", kind="zfs", size_bytes=80 * GIB, used_bytes=1, mount="/"),)
    blocks = (Block(name="sda", kind="disk", size_bytes=100 * GIB, filesystem="zfs_member"),)
    adoption = adopted(host("a", "10.0.0.1/24", blocks=blocks, filesystems=filesystems))
    assert at(adoption, "machines", "a", "system_disk") == "80GiB"
    assert "data_disk" not in at(adoption, "machines", "a")


# Services


def test_services_of_the_site_are_known_by_their_units() -> None:
    units = (
        Unit(name="haproxy.service"),
        Unit(name="app.service", by_hand=True),
        Unit(name="shop-backup.service", by_hand=True),
        Unit(name="postgresql@15-main.service"),
        Unit(name="understudy-identity.service", by_hand=True),
        Unit(name="ssh.service", by_hand=True),
        Unit(name="systemd-networkd.service", by_hand=True),
    )
    adoption = adopted(host("a", "10.0.0.1/24", units=units))
    assert at(adoption, "services") == {"app": ["a"], "haproxy": ["a"]}
    assert questions(adoption) == {}


def test_services_that_the_site_does_not_have_are_questions() -> None:
    units = (
        Unit(name="nginx.service"),
        Unit(name="ship-it.service", by_hand=True),
        Unit(name="night.timer", by_hand=True),
    )
    adoption = adopted(host("a", "10.0.0.1/24", units=units), host("b", "10.0.0.2/24", units=units[:1]))
    assert set(questions(adoption)) == {"services.nginx", "services.ship-it"}
    assert at(adoption, "services", "nginx") == ["a", "b"]
    assert "Make the folder services/nginx" in questions(adoption)["services.nginx"]


def test_what_listens_stands_at_the_machine() -> None:
    listeners = (
        Listener(address="*", port=80, processes=("haproxy",)),
        Listener(address="*", port=443, processes=("haproxy",)),
        Listener(address="127.0.0.1", port=25, processes=("master",)),
        Listener(address="10.0.0.1", port=9100),
    )
    assert "debian 12; listens: 9100, haproxy 80 443" in notes(adopted(host("a", "10.0.0.1/24", listeners=listeners)))


def test_how_a_machine_is_reached_is_kept() -> None:
    access = Access(host="10.0.0.1", port=2222, user="admin", sudo=True, jump="me@gate:22")
    adoption = adopted(replace(host("a", "10.0.0.1/24"), access=access))
    assert at(adoption, "machines", "a", "existing") == {
        "host": "10.0.0.1",
        "port": 2222,
        "user": "admin",
        "sudo": True,
        "jump": "me@gate:22",
    }


# Anything

TEXT = st.text(max_size=12) | st.sampled_from(
    ["no", "?", "a: b", "#x", "- x", "{a}", "'", '"', "\n", "&a", "*a", "!!x", "~"]
)
NAME = st.sampled_from(["db1", "db2", "10.0.0.1", "10.0.0.2", "localhost", "127.0.0.1"]) | TEXT
SIZE = st.integers(0, 1 << 50)
TABLES = st.builds(
    Table, schema=TEXT, name=TEXT, owner=TEXT, filled=st.booleans(), moments=st.lists(TEXT, max_size=2).map(tuple)
)
DATABASES = st.builds(Database, name=TEXT, owner=TEXT, size_bytes=SIZE, tables=st.lists(TABLES, max_size=3).map(tuple))
SERVERS = st.builds(
    Server,
    engine=st.sampled_from(["postgresql", "mariadb"]),
    port=st.sampled_from([5432, 5433]),
    version=st.sampled_from(["15", "8.0", ""]) | TEXT,
    name=TEXT,
    replica=st.none() | st.booleans(),
    upstream=st.none() | st.builds(Upstream, host=NAME, port=st.sampled_from([5432, 5433])),
    followers=st.lists(NAME, max_size=2).map(tuple),
    databases=st.lists(DATABASES, max_size=2).map(tuple),
    identifier=st.sampled_from(["", "7"]),
    stanza=TEXT,
    running=st.booleans(),
    mount=st.sampled_from(["", "/", "/srv"]),
)
INTERFACES = st.sampled_from(
    ["10.0.0.1/24", "10.0.0.2/24", "10.0.1.1/16", "10.0.0.255/24", "fd00::1/64", "198.18.0.1/24"]
)
ADDRESSES = st.builds(Address, card=st.sampled_from(["eth0", "docker0"]), interface=INTERFACES.map(ip_interface))
BLOCKS = st.builds(
    Block,
    name=st.sampled_from(["sda", "sda1", "sdb"]),
    kind=st.sampled_from(["disk", "part", "lvm", "raid1"]),
    size_bytes=SIZE,
    mount=st.sampled_from(["", "/", "/srv", "/data"]),
    parents=st.sampled_from([(), ("sda",), ("sdb",), ("sda", "sdb")]),
)
REPOSITORIES = st.builds(
    Repository, stanza=TEXT, kind=st.sampled_from(["path", "s3", "gcs"]), location=TEXT, endpoint=TEXT
)
HOSTS = st.builds(
    HostFacts,
    access=st.builds(Access, host=st.sampled_from(["10.0.0.1", "db1"]), sudo=st.booleans()),
    hostname=NAME,
    fqdn=TEXT,
    vcpus=st.none() | st.integers(1, 200),
    memory_mib=st.none() | st.integers(1, 1 << 22),
    installed_mib=st.none() | st.integers(1, 1 << 22),
    system=TEXT,
    blocks=st.lists(BLOCKS, max_size=3, unique_by=lambda block: block.name).map(tuple),
    addresses=st.lists(ADDRESSES, max_size=3).map(tuple),
    units=st.lists(
        st.builds(Unit, name=TEXT.map(lambda text: f"{text}.service"), by_hand=st.booleans()), max_size=3
    ).map(tuple),
    servers=st.lists(SERVERS, max_size=2).map(tuple),
    repositories=st.lists(REPOSITORIES, max_size=2).map(tuple),
    unread=st.lists(st.builds(Unread, fact=TEXT, reason=TEXT), max_size=2).map(tuple),
)


@given(st.lists(HOSTS, min_size=1, max_size=3))
@settings(max_examples=200)
def test_whatever_machines_say_every_refused_key_is_asked_and_the_file_can_be_read(facts: Sequence[HostFacts]) -> None:
    adopted(*facts)
