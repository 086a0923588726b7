"""PostgreSQL's settings changed as any other service: copied, validated, checked, taken back; primary and replica."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from model import postgresql as texts
from model.errors import UnderstudyError
from provisioners.changes.apply import back_out, changes_on, observe
from provisioners.changes.written import service_part
from provisioners.shell import close_all, connect
from provisioners.stores import postgresql
from provisioners.stores.kind import SeededStore
from provisioners.stores.postgresql_replica import PostgresReplica
from tests.changes.values import SERVICE, quiet, read
from tests.doubles.pulumi import Project
from tests.doubles.robot import Robot, document_of
from tests.stores.machines import PROJECT, StoreMachine, postgres_inputs
from tests.stores.test_replica import PASSWORD, PORT, address

INIT = "SET ROLE shop; CREATE TABLE customers (id integer PRIMARY KEY); INSERT INTO customers VALUES (1);"
UNIT = "postgresql@15-main.service"
RESTARTED = "/etc/postgresql/15/main/conf.d/10-restart.conf"
RELOADED = "/etc/postgresql/15/main/conf.d/20-reload.conf"
RULES = "/etc/postgresql/15/main/pg_hba.conf"
STORE, REPLICA = SeededStore(postgresql), PostgresReplica()
__all__ = ["address"]


class Server:
    """A server of the store, and the service that sets it up."""

    def __init__(self, machine: StoreMachine, store: dict[str, Any], port: str, replicas: tuple[str, ...]) -> None:
        self.machine, self.store, self.port, self.replicas = machine, store, port, replicas
        self.settings, self.hba = dict(store["settings"]), list(store["hba"])
        self.now = self.wanted()

    def wanted(self, *hba: str, **settings: str) -> dict[str, Any]:
        """Return the inputs of the service with other settings and further rules."""
        rules = [*self.hba, *hba]
        found = texts.site_files("15", {**self.settings, **settings}, rules, self.replicas)
        mine = {"mode": "0640", "owner": "postgres", "group": "postgres"}
        commands = {path: list(texts.validation("15", path, replica=not self.replicas)) for path in found}
        return {
            **self.machine.common,
            "service": "postgresql",
            "files": {path: {"content": text, **mine} for path, text in found.items()},
            "validate": {path: command for path, command in commands.items() if command},
            "reload": {RELOADED: UNIT, RULES: UNIT},
            "units": {UNIT: {"restart_on": [RESTARTED]}},
            "checks": [
                {"name": name, "command": list(command), "prints": prints}
                for name, command, prints in texts.checks("15", self.port)
            ],
            "digest": f"{len(rules)}{len(settings)}" * 32,
        }

    def change(self, *hba: str, **settings: str) -> dict[str, Any]:
        """Change them, and return what was told of it."""
        wanted = self.wanted(*hba, **settings)
        assert SERVICE.check(wanted) == ()
        made = SERVICE.update("", self.now, wanted, {}, quiet)
        self.now = wanted
        return made

    def show(self, name: str) -> str:
        """Return a setting that is in force now."""
        return self.machine.sql(f"SHOW {name}", "postgres", self.port)

    def started(self) -> str:
        return self.machine.sql("SELECT pg_postmaster_start_time()", "postgres", self.port)

    def back(self) -> str:
        """Take the newest change that was kept back."""
        with connect(self.machine.connection, self.machine.private_key, quiet, 10) as shell:
            return back_out(shell, next(each for each in changes_on(shell) if each.state == "kept"))

    def foretold(self, *hba: str, **settings: str) -> Any:
        wanted = self.wanted(*hba, **settings)
        with connect(self.machine.connection, self.machine.private_key, quiet, 10) as shell:
            return service_part(wanted, observe(shell, wanted))

    def files(self) -> list[str]:
        return [(self.machine.root / path.lstrip("/")).read_text() for path in (RESTARTED, RELOADED, RULES)]


def with_timers(machine: StoreMachine) -> None:
    """Give a machine whose server runs what changes need of systemd."""
    tools = machine.root / "usr/bin"
    shutil.copy(tools / "systemctl", tools / "systemctl-stores")
    doubles = {"systemctl-changes": "tests/doubles/systemctl.sh", "systemctl": "tests/changes/postgresql.sh"}
    for name, source in doubles.items():
        shutil.copy(PROJECT / source, tools / name)
        (tools / name).chmod(0o755)


@pytest.fixture(scope="module")
def primary(address: str) -> Iterator[Server]:
    with StoreMachine("db1") as machine:
        more = {"replication_password": PASSWORD, "replica_addresses": ["127.0.0.1"], "init_sql": INIT}
        inputs = postgres_inputs(machine, {"kind": "init"}, PROJECT, **more)
        inputs |= {"expected_tables": ["customers"], "heartbeat": None}
        inputs["settings"] = {"listen_addresses": address, "shared_buffers": "16MB", "max_connections": "40"}
        made = STORE.create(inputs, quiet)[1]
        with_timers(machine)
        yield Server(machine, {**inputs, "made": made}, "5432", ("127.0.0.1",))
    close_all()


@pytest.fixture(scope="module")
def replica(primary: Server, address: str) -> Iterator[Server]:
    with StoreMachine("db2") as machine:
        inputs = {
            **machine.common,
            "store": "shop",
            "version": "15",
            "primary": {"name": "db1", "address": address, "port": "5432"},
            "primary_data_id": primary.store["made"]["data_id"],
            "primary_system_identifier": primary.store["made"]["system_identifier"],
            "replication_password": PASSWORD,
            "settings": {**primary.settings, "listen_addresses": ""},
            "port": PORT,
            "hba": primary.hba,
            "running": True,
            "configuration": "its own",
        }
        assert REPLICA.check(inputs) == ()
        made = REPLICA.create(inputs, quiet)[1]
        with_timers(machine)
        yield Server(machine, {**inputs, "made": made}, PORT, ())


@pytest.fixture(autouse=True)
def as_begun(request: pytest.FixtureRequest) -> Iterator[None]:
    """Give both servers what they began with in the end: the replica has never less than the primary."""
    yield
    for server in (request.getfixturevalue(name) for name in ("primary", "replica") if name in request.fixturenames):
        server.change()


def test_what_the_store_begins_with_is_the_service_already_and_costs_no_restart(
    primary: Server, replica: Server
) -> None:
    for server in (primary, replica):
        started, files = server.started(), server.files()
        made = SERVICE.create(server.wanted(), quiet)[1]
        assert made["backup"].startswith("/root/configs/postgresql/")
        assert (server.started(), server.files()) == (started, files)
        assert (server.show("max_connections"), server.show("port")) == ("40", server.port)
        assert SERVICE.update("", server.now, server.now, made, quiet)["change"] == made["change"]


def test_what_it_takes_while_it_runs_and_what_it_is_restarted_for(primary: Server) -> None:
    before, started = primary.files(), primary.started()
    part = primary.foretold(work_mem="5MB", random_page_cost="1.1")
    assert "takes its new configuration while it runs" in part.effect
    assert "+work_mem = '5MB'" in part.differences
    made = primary.change(work_mem="5MB", random_page_cost="1.1")
    assert (primary.show("work_mem"), primary.show("random_page_cost")) == ("5MB", "1.1")
    assert primary.started() == started, "no restart where none is needed"
    folder = primary.machine.root / made["backup"].lstrip("/")
    assert (folder / "back-out.sh").is_file()
    assert RELOADED in (folder / "manifest").read_text()
    assert (folder / f"files{RELOADED}").read_text() == before[1]
    part = primary.foretold(work_mem="5MB", random_page_cost="1.1", max_connections="50")
    assert f"{UNIT} is restarted, and does not answer until it runs again." in part.effect
    primary.change(work_mem="5MB", random_page_cost="1.1", max_connections="50")
    assert primary.show("max_connections") == "50"
    assert primary.started() != started
    assert primary.back().endswith("backed out")
    assert (primary.show("max_connections"), primary.show("work_mem")) == ("40", "5MB")
    assert primary.back().endswith("backed out")
    assert primary.files() == before
    for _ in range(50):
        if primary.show("work_mem") == "4MB":
            break
        time.sleep(0.1)
    assert primary.show("work_mem") == "4MB"


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"work_mem": "5XB"}, r"`validate .*20-reload.conf` failed: (.|\n)*invalid value for parameter \"work_mem\""),
        ({"works_mem": "5MB"}, r"unrecognized configuration parameter \"works_mem\""),
        ({"max_connections": "many"}, r"`validate .*10-restart.conf` failed"),
    ],
)
def test_what_the_server_would_not_read_never_takes_its_place(
    primary: Server, settings: dict[str, str], told: str
) -> None:
    before, started = primary.files(), primary.started()
    with pytest.raises(UnderstudyError, match=f"{told}(.|\n)*The old configuration is back"):
        primary.change(**settings)
    assert (primary.files(), primary.started()) == (before, started)


def test_one_with_which_it_does_not_start_is_taken_back_at_once(primary: Server) -> None:
    before = primary.files()
    with pytest.raises(UnderstudyError, match=r"`tell systemd: .* failed(.|\n)*The old configuration is back"):
        primary.change(superuser_reserved_connections="40")  # it is good, but not beside 40 in all
    assert primary.files() == before
    assert primary.machine.sql("SELECT count(*) FROM customers") == "1"


def test_a_rule_that_it_cannot_read_is_taken_back_by_the_check(primary: Server) -> None:
    before = primary.files()
    with pytest.raises(UnderstudyError, match=r"pg_hba.conf:[0-9]+: (.|\n)*The old configuration is back"):
        primary.change("host shop shop 10.0.0.0/99 scram-sha-256")
    assert primary.files() == before
    primary.change("host shop shop 10.0.0.0/24 scram-sha-256")
    assert "10.0.0.0/24" in primary.files()[2]
    assert "host replication understudy_replication 127.0.0.1/32" in primary.files()[2]


def test_a_robot_types_it_out_of_the_document(primary: Server, tmp_path: Path) -> None:
    before = primary.files()
    wanted = {"work_mem": "6MB", "max_connections": "45", "log_line_prefix": "it's %m \\ "}
    way = connect(primary.machine.connection, primary.machine.private_key, quiet, 10)
    with way as shell, Robot(shell, tmp_path) as robot:
        text = document_of(primary.foretold(**wanted))
        assert robot.type_part(text, "db1:postgresql", "do")
        assert (primary.show("work_mem"), primary.show("max_connections")) == ("6MB", "45")
        assert primary.show("log_line_prefix") == "it's %m \\"
        assert primary.foretold(**wanted) is None, "nothing is left to do"
        assert robot.type_part(text, "db1:postgresql", "undo")
    assert primary.files() == before


def test_a_file_that_somebody_edited_is_shown_and_mended(primary: Server) -> None:
    with (primary.machine.root / RELOADED.lstrip("/")).open("a") as file:
        file.write("work_mem = 9MB\n")
    assert "work_mem = 9MB" in read(primary.now).inputs["files"][RELOADED]["content"]
    real = STORE.read("db1:shop", primary.store, {}, quiet)
    assert real is not None
    assert real.inputs == primary.store, "it is the service's, not the store's"


def test_the_replica_gets_more_first_and_less_last(primary: Server, replica: Server) -> None:
    replica.change(max_connections="60")
    primary.change(max_connections="60")
    assert (primary.show("max_connections"), replica.show("max_connections")) == ("60", "60")
    wait_for_control(replica, "60")
    started = replica.started()
    with pytest.raises(UnderstudyError, match=r"max_connections = 50 is lower than on the primary, which has 60"):
        replica.change(max_connections="50")
    assert replica.started() == started, "it was refused before anything was touched"
    primary.change(max_connections="50")
    wait_for_control(replica, "50")
    replica.change(max_connections="50")
    assert (primary.show("max_connections"), replica.show("max_connections")) == ("50", "50")
    assert primary.machine.sql("SELECT count(*) FROM pg_stat_replication") == "1"
    primary.change()
    wait_for_control(replica, "40")


def wait_for_control(replica: Server, connections: str) -> None:
    """Wait until the replica has replayed what its primary has now."""
    control = "/usr/lib/postgresql/15/bin/pg_controldata"
    told = ""
    for _ in range(200):
        told = replica.machine.shell(control, "-D", "/srv/postgresql/current")
        if f"max_connections setting:              {connections}\n" in told:
            return
        time.sleep(0.1)
    raise AssertionError(told)


def test_a_new_replica_is_let_in_by_the_store_before_the_service_comes_to_it(primary: Server) -> None:
    before = primary.files()
    more = {**primary.store, "replica_addresses": ["127.0.0.1", "127.9.9.9"]}
    STORE.update("db1:shop", primary.store, more, {}, quiet)
    assert primary.files()[2] == before[2] + "host replication understudy_replication 127.9.9.9/32 scram-sha-256\n"
    assert primary.files()[:2] == before[:2]


def test_data_that_comes_anew_keeps_what_the_service_set(primary: Server) -> None:
    primary.change(work_mem="7MB")
    before = primary.files()
    STORE.update("db1:shop", primary.store, {**primary.store, "settings": {}, "hba": []}, {}, quiet)
    assert primary.files() == before
    assert STORE.ignored >= {"settings", "hba", "init_sql"}
    assert primary.show("work_mem") == "7MB"


def test_the_table_of_settings_for_which_it_is_restarted_is_the_servers_own(primary: Server) -> None:
    query = "SELECT name FROM pg_settings WHERE context = 'postmaster' AND name NOT LIKE '%.%'"
    assert {*primary.machine.sql(query).split()} - {"config_file"} <= texts.RESTARTING
    query = "SELECT name FROM pg_settings WHERE context <> 'postmaster'"
    assert not {*primary.machine.sql(query).split()} & texts.RESTARTING


def test_under_the_engine_an_edit_is_a_change_of_the_service_alone(primary: Server, tmp_path: Path) -> None:
    project = Project(tmp_path)
    store = {key: value for key, value in primary.store.items() if key != "made" and value is not None}

    def want(**settings: str) -> None:
        inputs = {**store, "settings": {**store["settings"], **settings}}
        service = {"kind": "Service", "inputs": primary.wanted(**settings), "after": ["shop"]}
        project.resources({"shop": {"kind": "PostgresPrimary", "inputs": inputs}, "db1:postgresql": service})

    want()
    project.run("up", "--yes", "--skip-preview")
    project.run("preview", "--refresh", "--expect-no-changes")
    want(work_mem="8MB", max_connections="44")
    shown = project.run("preview", "--diff")
    assert "~ 1 to update" in shown
    assert f"users: {UNIT} on db1 is restarted: what it serves is away for that long" in shown
    assert "postgres -C config_file" in shown
    project.run("up", "--yes", "--skip-preview")
    assert (primary.show("work_mem"), primary.show("max_connections")) == ("8MB", "44")
    project.run("preview", "--refresh", "--expect-no-changes")
