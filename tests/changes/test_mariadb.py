"""MariaDB's settings changed as any other service: copied, validated, restarted for, checked, taken back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from model import mariadb as texts
from model.errors import UnderstudyError
from model.mariadb import SITE_PATH, UNIT
from provisioners.changes.apply import back_out, changes_on, observe
from provisioners.changes.written import service_part
from provisioners.shell import close_all, connect
from provisioners.stores import mariadb
from provisioners.stores.kind import SeededStore
from tests.changes.test_postgresql import with_timers
from tests.changes.values import SERVICE, quiet
from tests.stores.machines import PROJECT, StoreMachine, mariadb_inputs

STORE = SeededStore(mariadb)
INIT = "CREATE TABLE customers (id integer PRIMARY KEY); INSERT INTO customers VALUES (1);"


class Server:
    """The store's server, and the service that sets it up."""

    def __init__(self, machine: StoreMachine, store: dict[str, Any]) -> None:
        self.machine, self.store, self.settings = machine, store, dict(store["settings"])
        self.now = self.wanted()

    def wanted(self, **settings: str) -> dict[str, Any]:
        """Return the inputs of the service with other settings."""
        return {
            **self.machine.common,
            "service": "mariadb",
            "files": {SITE_PATH: {"content": texts.site_text({**self.settings, **settings})}},
            "validate": {SITE_PATH: list(texts.validation())},
            "units": {UNIT: {"restart_on": [SITE_PATH]}},
            "checks": [
                {"name": name, "command": list(command), "prints": prints} for name, command, prints in texts.checks()
            ],
            "digest": f"{len(settings):x}" * 64,
        }

    def change(self, **settings: str) -> dict[str, Any]:
        """Change them, and return what was told of it."""
        wanted = self.wanted(**settings)
        assert SERVICE.check(wanted) == ()
        made = SERVICE.update("", self.now, wanted, {}, quiet)
        self.now = wanted
        return made

    @property
    def process(self) -> str:
        """Return the server's process."""
        return self.machine.shell("cat", f"/run/fake-systemd/{UNIT}.pid")

    @property
    def file(self) -> str:
        return (self.machine.root / SITE_PATH.lstrip("/")).read_text()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with StoreMachine("db1") as machine:
        inputs = mariadb_inputs(machine, {"kind": "init"}, PROJECT, init_sql=INIT, expected_tables=[])
        STORE.create(inputs, quiet)
        with_timers(machine)
        yield Server(machine, inputs)
    close_all()


def test_what_the_store_begins_with_is_the_service_already_and_costs_no_restart(server: Server) -> None:
    process, file = server.process, server.file
    made = SERVICE.create(server.wanted(), quiet)[1]
    assert made["backup"].startswith("/root/configs/mariadb/")
    assert (server.process, server.file) == (process, file)
    STORE.update("db1:shop", server.store, {**server.store, "settings": {}}, {}, quiet)
    assert (server.process, server.file) == (process, file), "the store leaves it to the service"


def test_a_change_is_copied_restarted_for_and_taken_back(server: Server) -> None:
    before, process = server.file, server.process
    odd = 'SET @a = "#; \\\\ \' "'
    wanted = server.wanted(max_connections="42", init_connect=odd)
    with connect(server.machine.connection, server.machine.private_key, quiet, 10) as shell:
        part = service_part(wanted, observe(shell, wanted))
    assert part is not None
    assert f"{UNIT} is restarted, and does not answer until it runs again." in part.effect
    assert "+max_connections = 42" in part.differences
    made = server.change(max_connections="42", init_connect=odd)
    assert server.machine.mariadb("SELECT @@max_connections, @@init_connect", "--raw") == f"42\t{odd}"
    assert server.process != process
    assert (server.machine.root / f"{made['backup']}/files{SITE_PATH}".lstrip("/")).read_text() == before
    with connect(server.machine.connection, server.machine.private_key, quiet, 10) as shell:
        assert back_out(shell, changes_on(shell)[0]).endswith("backed out")
    assert server.file == before
    assert server.machine.mariadb("SELECT @@max_connections") == "151"
    server.now = server.wanted()


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"max_conections": "42"}, "unknown variable 'max_conections=42'"),
        ({"max_connections": "many"}, "option 'max_connections': unsigned value 0 adjusted to 10"),
        ({"sql_mode": "NONSENSE"}, "Error while setting value 'NONSENSE' to 'sql_mode'"),
        ({"innodb_buffer_pool_size": "16Q"}, "Unknown suffix 'Q' used for variable"),
    ],
)
def test_what_the_server_would_not_read_never_takes_its_place(
    server: Server, settings: dict[str, str], told: str
) -> None:
    before, process = server.file, server.process
    with pytest.raises(UnderstudyError, match=rf"`validate {SITE_PATH}` failed: (.|\n)*{told}(.|\n)*is back"):
        server.change(**settings)
    assert (server.file, server.process) == (before, process)


def test_one_with_which_it_does_not_start_is_taken_back_at_once(server: Server) -> None:
    before = server.file
    with pytest.raises(UnderstudyError, match=r"`tell systemd: mariadb` failed(.|\n)*The old configuration is back"):
        server.change(innodb_page_size="4096")  # it is good, but not for the data that is there
    assert server.file == before
    assert server.machine.mariadb("SELECT count(*) FROM customers") == "1"


def test_what_only_the_store_decides_stays_so_whatever_the_site_says(server: Server) -> None:
    server.change(socket="/tmp/other", datadir="/tmp/other")
    assert server.machine.mariadb("SELECT count(*) FROM customers") == "1"
    server.change()


def test_what_is_no_setting_is_refused() -> None:
    with pytest.raises(ValueError, match="no name of a setting: 'a b'"):
        texts.site_text({"a b": "1"})
    with pytest.raises(ValueError, match="no zero byte"):
        texts.site_text({"a": "\0"})
