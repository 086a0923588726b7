"""Nothing that is asked changes anything: every command of every fact is on a list."""

from __future__ import annotations

import importlib
import pkgutil

import pytest

import provisioners.facts
from model.topology import Access
from provisioners.facts import disks, host, mariadb, portrait_mariadb, portrait_postgresql, postgresql, system, tree
from provisioners.facts.ask import as_user, complete
from provisioners.facts.fact import Fact, Question
from tests.facts.read_only import is_read_only

CLUSTER = postgresql.Cluster(port=5433, socket_directory="/tmp/it's here; rm -rf", user="pg")
MARIADB = (
    mariadb.identity,
    mariadb.sizes,
    mariadb.tables,
    mariadb.grants,
    mariadb.replica,
    mariadb.newer_replica,
    mariadb.followers,
)
ODD = "x'; DROP TABLE orders; --"


def every_fact() -> list[Question]:
    found: list[Question] = []
    for module in pkgutil.iter_modules(provisioners.facts.__path__, "provisioners.facts."):
        found += [each for each in vars(importlib.import_module(module.name)).values() if isinstance(each, Fact)]
    made: list[Question] = [
        disks.holding("/srv; rm"),
        *(make(socket) for make in MARIADB for socket in ("", "/tmp/x; rm")),
        system.units(("a.service", "--now")),
        postgresql.settings(CLUSTER),
        postgresql.replica(CLUSTER),
        postgresql.identifier(CLUSTER),
        postgresql.receiver(CLUSTER),
        postgresql.followers(CLUSTER),
        postgresql.databases(CLUSTER),
        postgresql.tables(CLUSTER, ODD),
        portrait_postgresql.server(CLUSTER),
        portrait_postgresql.settings(CLUSTER),
        portrait_postgresql.rules(CLUSTER),
        portrait_postgresql.inside(CLUSTER, ODD),
        *(portrait_mariadb.settings("/tmp/x; rm", flavour) for flavour in ("", "mysql")),
        portrait_mariadb.databases("/tmp/x; rm"),
        host.filesystem("/var/lib; rm"),
        tree.entries(),
        tree.entries(("/srv/app; rm", "-delete", "/usr/local/lib/app/app.py")),
    ]
    return found + made


FACTS = every_fact()
ACCESSES = [
    Access(host="a"),
    Access(host="a", user="admin", sudo=True),
    Access(host="a", user="admin"),
    Access(host="a", user="pg", sudo=True),
]


def test_there_are_facts() -> None:
    assert len(FACTS) > 20


@pytest.mark.parametrize("access", ACCESSES, ids=["root", "sudo", "neither", "postgres"])
@pytest.mark.parametrize("question", FACTS, ids=[question.name for question in FACTS])
def test_every_command_only_reads(question: Question, access: Access) -> None:
    assert is_read_only(complete(as_user(question, access)))
    assert is_read_only(("timeout", "--kill-after=10", "60", *complete(as_user(question, access))))


@pytest.mark.parametrize(
    "argv",
    [
        ("rm", "-rf", "/"),
        ("cat", "/etc/shadow"),
        ("systemctl", "restart", "haproxy"),
        ("ss", "-tlnp", "-K"),
        ("sudo", "ss", "-tlnp"),
        ("sudo", "-n", "--", "tee", "/etc/hosts"),
        ("env", "LD_PRELOAD=/tmp/x.so", "uname", "-n"),
        ("sh", "-c", "uname -n"),
        ("find", "-P", "/etc", "-delete"),
        tuple("-delete" if word == "/etc" else word for word in tree.entries().argv),
        tuple("shred" if word == "sha256sum" else word for word in tree.entries().argv),
        ("sysctl", "--all", "--write", "vm.swappiness=1"),
        mariadb.query("DELETE FROM orders"),
        mariadb.query("SELECT 1; DROP TABLE orders"),
        mariadb.query("SELECT 1 INTO OUTFILE '/tmp/x'"),
        postgresql.query(CLUSTER, "UPDATE orders SET a = 1"),
        postgresql.query(CLUSTER, "SELECT pg_terminate_backend(1)"),
        postgresql.query(CLUSTER, "SELECT pg_read_file('/etc/passwd')"),
        tuple(
            word.replace("default_transaction_read_only=on", "default_transaction_read_only=off")
            for word in postgresql.query(CLUSTER, "SELECT 1")
        ),
    ],
)
def test_the_list_refuses_what_changes_something(argv: tuple[str, ...]) -> None:
    assert not is_read_only(argv)


def test_root_is_reached_as_the_machine_allows() -> None:
    question = Question(name="x", argv=("id",), user="root")
    database = Question(name="x", argv=("id",), user="postgres")
    assert [as_user(question, access) for access in ACCESSES[:3]] == [("id",), ("sudo", "-n", "--", "id"), ("id",)]
    assert [as_user(database, access) for access in ACCESSES[:3]] == [
        ("runuser", "-u", "postgres", "--", "id"),
        ("sudo", "-n", "-u", "postgres", "--", "id"),
        ("id",),
    ]
