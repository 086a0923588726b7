"""A replica on a second machine: copied, cut off, copied anew where the primary's data is other data."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from model.errors import UnderstudyError
from provisioners.outcome import ConnectionLost
from provisioners.shell import close_all
from provisioners.stores import postgresql
from provisioners.stores.kind import SeededStore
from provisioners.stores.postgresql_replica import PostgresReplica
from tests.stores.machines import PROJECT, Said, StoreMachine, postgres_inputs
from tests.stores.test_postgresql import SEED, pinned

PRIMARY, REPLICA = SeededStore(postgresql), PostgresReplica()
UNIT = "postgresql@15-main.service"
PORT = "5433"
PASSWORD = "replica's: \\ password"
Following = tuple[dict[str, Any], dict[str, Any]]


class Cable:
    """Leads from a port of loopback to another address, until so many bytes went through it."""

    def __init__(self, target: tuple[str, int], most_bytes: int) -> None:
        self._target, self._left = target, most_bytes
        self.went = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = str(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                here, _ = self._listener.accept()
                there = socket.create_connection(self._target)
                for pair in ((here, there), (there, here)):
                    threading.Thread(target=self._carry, args=pair, daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while (piece := source.recv(65536)) and self.went <= self._left:
                self.went += len(piece)
                target.sendall(piece)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@pytest.fixture(scope="module")
def address() -> str:
    """An address of loopback that this test alone uses, so that its server can have the usual port."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        number = probe.getsockname()[1]
    return f"127.8.{number >> 8}.{number & 0xFF or 1}"


@pytest.fixture(scope="module")
def primary(address: str) -> Iterator[tuple[StoreMachine, dict[str, Any], dict[str, Any]]]:
    with StoreMachine("db1") as machine:
        more = {"replication_password": PASSWORD, "replica_addresses": ["127.0.0.1"], **pinned()}
        inputs = postgres_inputs(machine, SEED, PROJECT, **more)
        inputs["settings"] = {**inputs["settings"], "listen_addresses": address}
        yield machine, inputs, PRIMARY.create(inputs, Said())[1]
    close_all()


@pytest.fixture(scope="module")
def machine() -> Iterator[StoreMachine]:
    with StoreMachine("db2") as running:
        yield running


@pytest.fixture(scope="module")
def following(
    machine: StoreMachine, primary: tuple[StoreMachine, dict[str, Any], dict[str, Any]], address: str
) -> Following:
    """The inputs and outputs of a replica that follows; its own server has another port."""
    outputs = primary[2]
    inputs = {
        **machine.common,
        "store": "shop",
        "version": "15",
        "primary": {"name": "db1", "address": address, "port": "5432"},
        "primary_data_id": outputs["data_id"],
        "primary_system_identifier": outputs["system_identifier"],
        "replication_password": PASSWORD,
        "settings": {"listen_addresses": "", "shared_buffers": "16MB", "port": PORT},
        "hba": ["local shop shop scram-sha-256"],
        "running": True,
        "configuration": "its own",
    }
    assert REPLICA.check(inputs) == ()
    said = Said()
    identifier, made = REPLICA.create(inputs, said)
    assert identifier == "db2:shop"
    assert "copying from the primary" in said.lines
    assert any(line.startswith("copying 100 %") for line in said.lines)
    return inputs, made


def places(machine: StoreMachine) -> list[str]:
    return [name for name in machine.shell("ls", "/srv/postgresql").split() if name != "current"]


def rows(machine: StoreMachine) -> str:
    return machine.sql("SELECT count(*) FROM orders", port=PORT)


def changed(inputs: dict[str, Any]) -> dict[str, Any]:
    """Return what a refresh finds to be other than wanted."""
    real = REPLICA.read("db2:shop", inputs, {}, Said())
    assert real is not None
    return {name: value for name, value in real.inputs.items() if inputs.get(name) != value}


def arrives(machine: StoreMachine, primary: StoreMachine) -> bool:
    """Return whether what is written on the primary now is soon read from the replica."""
    primary.sql("INSERT INTO heartbeat VALUES (now())")
    beat = primary.sql("SELECT max(beat_at) FROM heartbeat")
    for _ in range(100):
        if machine.sql("SELECT max(beat_at) FROM heartbeat", port=PORT) == beat:
            return True
        time.sleep(0.1)
    return False


def test_it_follows_and_is_harmless(machine: StoreMachine, primary: Any, following: Following) -> None:
    outputs = following[1]
    names = ["the copy is whole (pg_verifybackup)", "it streams from its primary"]
    assert [check["name"] for check in outputs["checks"] if check["ok"]] == names
    assert (outputs["lag_bytes"] >= 0, outputs["unit"]) == (True, UNIT)
    assert arrives(machine, primary[0])
    assert machine.sql("SELECT pg_is_in_recovery(), current_setting('archive_mode')", port=PORT) == "t|off"
    assert places(machine) == [outputs["data_id"]]
    assert machine.shell("ls", f"/srv/postgresql/{outputs['data_id']}").split() == [
        "data",
        "key",
        "repository",
        "seed.json",
    ]
    held = machine.shell(
        "sh", "-c", f"cat /srv/postgresql/{outputs['data_id']}/seed.json /proc/[0-9]*/cmdline | tr '\\0' ' '"
    )
    assert "replica's" not in held
    assert machine.shell("stat", "-c", "%U %a", "/etc/postgresql/15/main/replication.pass") == "postgres 600"
    assert machine.shell("ls", "/var/lib/understudy-jobs") == ""


def test_a_second_create_changes_nothing(machine: StoreMachine, following: Following) -> None:
    inputs, outputs = following
    started = machine.sql("SELECT pg_postmaster_start_time()", port=PORT)
    again = REPLICA.create(inputs, Said())[1]
    assert {**again, "lag_bytes": 0, "checks": 0} == {**outputs, "lag_bytes": 0, "checks": 0}
    assert machine.sql("SELECT pg_postmaster_start_time()", port=PORT) == started
    assert changed(inputs) == {}
    assert REPLICA.foresee(inputs, outputs).keys() == outputs.keys() - {"lag_bytes", "checks"}


def test_drift_is_seen_and_mended(machine: StoreMachine, primary: Any, following: Following) -> None:
    inputs, outputs = following
    with (machine.root / "etc/postgresql/15/main/postgresql.conf").open("a") as file:
        file.write("work_mem = 9MB\n")
    assert changed(inputs) == {"configuration": "work_mem = 9MB"}
    machine.shell("systemctl", "stop", UNIT)
    assert changed(inputs)["running"] is False
    REPLICA.update("db2:shop", inputs, inputs, outputs, Said())
    assert changed(inputs) == {}
    assert places(machine) == [outputs["data_id"]], "it was not copied anew"
    assert arrives(machine, primary[0])


def test_one_that_was_promoted_by_hand_is_copied_anew(
    machine: StoreMachine, primary: Any, following: Following
) -> None:
    inputs, outputs = following
    machine.sql("SELECT pg_promote()", port=PORT)
    machine.sql("DELETE FROM orders", port=PORT)
    assert changed(inputs) == {"primary_data_id": "it does not follow"}
    after = REPLICA.update("db2:shop", inputs, inputs, outputs, Said())
    assert places(machine) == [after["data_id"]] != [outputs["data_id"]]
    assert int(rows(machine)) > 0
    assert arrives(machine, primary[0])


def test_a_primary_that_was_filled_anew_is_followed_anew(
    machine: StoreMachine, primary: Any, following: Following
) -> None:
    inputs, outputs = following
    where, of_primary, old = primary
    new = PRIMARY.update("db1:shop", of_primary, {**of_primary, "drilled_at": "now"}, old, Said())
    assert changed(inputs) == {"primary_data_id": "it does not follow"}, "the old data follows nobody"
    wanted = {**inputs, "primary_data_id": new["data_id"]}
    assert REPLICA.foresee(wanted, outputs) == {}
    after = REPLICA.update("db2:shop", inputs, wanted, outputs, Said())
    assert (after["primary_data_id"], places(machine)) == (new["data_id"], [after["data_id"]])
    assert arrives(machine, where)
    assert changed(inputs) == {"primary_data_id": new["data_id"]}


@contextmanager
def copied_through(primary: Any, address: str, most_bytes: int) -> Iterator[dict[str, str]]:
    """Give a way to the primary that breaks off after so many bytes."""
    cable = Cable((address, 5432), most_bytes)
    try:
        yield {"name": "db1", "address": "127.0.0.1", "port": cable.port}
        assert cable.went > most_bytes
    finally:
        cable.close()


def test_a_copy_that_is_cut_off(machine: StoreMachine, primary: Any, following: Following, address: str) -> None:
    """The old copy stays, nothing of the new one does, and the next run makes it."""
    inputs = {**following[0], "primary_data_id": "another"}
    before = places(machine), rows(machine)
    with (
        copied_through(primary, address, 3_000_000) as way,
        pytest.raises(UnderstudyError, match="db1 cannot be copied"),
    ):
        REPLICA.create({**inputs, "primary": way}, Said())
    assert (places(machine), rows(machine)) == before
    assert REPLICA.create(inputs, Said())[1]["primary_data_id"] == "another"
    assert arrives(machine, primary[0])


@pytest.mark.parametrize("how", ["the connection drops", "the controller dies"])
def test_a_run_that_ends_in_the_middle_is_finished_by_the_next(
    how: str, machine: StoreMachine, primary: Any, following: Following
) -> None:
    inputs = {**following[0], "primary_data_id": how}
    ended: list[str] = []

    class Killed(BaseException):
        pass

    def say(line: str) -> None:
        if line.startswith("copying") and not ended:
            ended.append(line)
            if how == "the controller dies":
                raise Killed
            machine.drop_sessions()

    with suppress(Killed, ConnectionLost):
        REPLICA.create(inputs, say)
    assert ended
    outputs = REPLICA.create(inputs, Said())[1]
    assert places(machine) == [outputs["data_id"]]
    assert machine.shell("ls", "/var/lib/understudy-jobs") == ""
    assert arrives(machine, primary[0])


def test_a_wrong_password(machine: StoreMachine, following: Following) -> None:
    inputs = {**following[0], "primary_data_id": "yet another", "replication_password": "wrong"}
    before = places(machine), rows(machine)
    with pytest.raises(UnderstudyError, match="password authentication failed for user"):
        REPLICA.create(inputs, Said())
    assert (places(machine), rows(machine)) == before


def test_another_cluster_than_the_one_that_is_meant(machine: StoreMachine, following: Following) -> None:
    inputs = {**following[0], "primary_system_identifier": "7000000000000000001"}
    before = places(machine)
    with pytest.raises(UnderstudyError, match=r"is of cluster [0-9]+, not 7000000000000000001"):
        REPLICA.create(inputs, Said())
    assert places(machine) == before
