"""What a person does by hand, and migrations of a real database: once, wholly or not at all, and the way back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from model.errors import UnderstudyError
from provisioners.changes.acts import EXCEPT, by_hand_digest
from provisioners.changes.apply import back_out, changes_on, observe
from provisioners.changes.steps import steps_of
from provisioners.changes.written import people, service_part
from provisioners.shell import Shell, close_all, connect
from provisioners.stores import postgresql
from provisioners.stores.kind import SeededStore
from tests.changes.values import SERVICE, quiet
from tests.doubles.evidence import make_signer, put
from tests.doubles.robot import Robot, document_of
from tests.stores.machines import PROJECT, StoreMachine, postgres_inputs

UP = """\
-- It's a test; $HOME `id` \\! id \\q ü % $$ :name
CREATE TABLE note (id integer PRIMARY KEY, text text DEFAULT 'it''s \\ $x$ "END"');
INSERT INTO note VALUES (1);
SELECT 1;
"""
DOWN = "DROP TABLE note;\n"
INIT = "SET ROLE shop; CREATE TABLE customers (id integer PRIMARY KEY); INSERT INTO customers VALUES (1);"
FORECAST = "83 s in the drill of 2026-11-25T02:00:00Z on stage"


@pytest.fixture(scope="module")
def machine() -> Iterator[StoreMachine]:
    """A machine with an empty store."""
    with StoreMachine("db1") as running:
        inputs = postgres_inputs(running, {"kind": "init"}, PROJECT, init_sql=INIT)
        SeededStore(postgresql).create({**inputs, "expected_tables": ["customers"], "heartbeat": None}, quiet)
        double = PROJECT / "tests/doubles/systemctl.sh"  # the server runs; changes need a systemd with timers
        (running.root / "usr/bin/systemctl").write_text(double.read_text())
        yield running
    close_all()


@pytest.fixture(autouse=True)
def clean(request: pytest.FixtureRequest) -> None:
    if "machine" in request.fixturenames:
        machine = request.getfixturevalue("machine")
        machine.sql("DROP SCHEMA IF EXISTS understudy CASCADE; DROP TABLE IF EXISTS note")
        machine.shell("bash", "-c", "rm -rf /root/configs /etc/schema.conf /etc/switch")


@pytest.fixture
def shell(machine: StoreMachine) -> Iterator[Shell]:
    with connect(machine.connection, machine.private_key, quiet, 10) as opened:
        yield opened


def migration(up: str = UP, back: str | None = DOWN, name: str = "add-note") -> dict[str, Any]:
    where = {"store": "shop", "version": "15", "port": "5432", "database": "shop", "owner": "shop"}
    return {"name": name, **where, "up": up, **({} if back is None else {"back_out": back})}


def inputs(machine: StoreMachine, **more: Any) -> dict[str, Any]:
    files = {"/etc/schema.conf": {"content": "one\n"}}
    return {**machine.common, "service": "schema", "files": files, **more}


def tables(machine: StoreMachine) -> tuple[bool, list[str]]:
    """Return whether the table is there, and which migrations are noted."""
    there = machine.sql("SELECT to_regclass('note') IS NOT NULL") == "t"
    known = machine.sql("SELECT to_regclass('understudy.migrations') IS NOT NULL") == "t"
    names = machine.sql("SELECT name FROM understudy.migrations ORDER BY 1").split() if known else []
    return there, names


def newest(shell: Shell, state: str = "kept") -> Any:
    return next(each for each in changes_on(shell) if each.state == state)


def test_a_migration_is_made_once_and_taken_back_with_its_change(machine: StoreMachine, shell: Shell) -> None:
    wanted = inputs(machine, migrations=[migration()])
    assert SERVICE.check(wanted) == ()
    shown = SERVICE.shouts(wanted, {"backup": "x"}, planned=True)
    assert shown == ("migration of shop: add-note; its way back: its own SQL",)
    _, outputs = SERVICE.create(wanted, quiet)
    assert tables(machine) == (True, ["add-note"])
    assert machine.sql("SELECT tableowner FROM pg_tables WHERE tablename = 'note'") == "shop"
    assert machine.sql("SELECT text FROM note") == 'it\'s \\ $x$ "END"'
    real = SERVICE.read("", wanted, outputs, quiet)
    assert real is not None
    assert real.inputs == wanted
    assert SERVICE.update("", wanted, wanted, outputs, quiet)["change"] == outputs["change"]
    later = {**wanted, "files": {"/etc/schema.conf": {"content": "two\n"}}}
    SERVICE.update("", wanted, later, outputs, quiet)
    assert back_out(shell, newest(shell)).endswith("backed out")
    assert tables(machine) == (True, ["add-note"]), "that change has not made it"
    assert back_out(shell, newest(shell)).endswith("backed out")
    assert tables(machine) == (False, [])
    again = SERVICE.read("", wanted, outputs, quiet)
    assert again is not None
    assert again.inputs["migrations"] == [{**migration(), "made": False}]


@pytest.mark.parametrize(
    "bad",
    [
        "CREATE TABLE note (id integer);\nSELECT 1/0;\n",
        "CREATE TABLE note (id integer);\nCOMMIT;\n",
        "CREATE TABLE note (id integer);\n\\q\n",
        "CREATE TABLE note (id integer);\nROLLBACK; BEGIN;\n",
    ],
)
def test_one_that_fails_or_would_end_the_transaction_leaves_nothing(machine: StoreMachine, bad: str) -> None:
    with pytest.raises(UnderstudyError, match=r"`migrate shop: add-note` failed(.|\n)*The old configuration is back"):
        SERVICE.create(inputs(machine, migrations=[migration(bad)]), quiet)
    assert tables(machine) == (False, [])
    assert machine.shell("ls", "/etc/schema.conf", check=False) == ""


def test_a_check_that_fails_afterwards_takes_it_back(machine: StoreMachine) -> None:
    two = migration("ALTER TABLE note ADD more integer;\n", "ALTER TABLE note DROP more;\n", "add-more")
    wanted = inputs(machine, migrations=[migration(), two], files={})
    made = SERVICE.create(wanted, quiet)[1]
    three = migration("ALTER TABLE note ADD third integer;\n", "ALTER TABLE note DROP third;\n", "add-third")
    bad = {**wanted, "migrations": [migration(), two, three], "validate": {}, "checks": [NEVER]}
    with pytest.raises(UnderstudyError, match="The old configuration is back"):
        SERVICE.update("", wanted, bad, made, quiet)
    assert tables(machine) == (True, ["add-more", "add-note"])
    assert machine.sql("SELECT count(*) FROM pg_attribute WHERE attname = 'third'") == "0"


NEVER = {"name": "never", "command": ["false"]}


def test_one_that_only_a_restore_takes_back_says_so_and_pretends_nothing(machine: StoreMachine, shell: Shell) -> None:
    wanted = inputs(machine, migrations=[migration(back=None)], forecasts={"shop": FORECAST})
    part = service_part(wanted, observe(shell, wanted))
    assert part is not None
    assert part.undo[0].prints == EXCEPT
    assert FORECAST in part.undo[1].command
    SERVICE.create(wanted, quiet)
    said = back_out(shell, newest(shell)).splitlines()
    assert said[-1] == EXCEPT
    assert said[-2].startswith("STILL TO DO: Restore the store shop")
    assert FORECAST in said[-2]
    assert tables(machine) == (True, ["add-note"])
    assert machine.shell("ls", "/etc/schema.conf", check=False) == ""
    bad = inputs(machine, migrations=[migration(back=None)], validate={"/etc/schema.conf": ["false", "{}"]})
    with pytest.raises(UnderstudyError, match="The old configuration is back") as caught:
        SERVICE.create(bad, quiet)
    assert "STILL TO DO" not in str(caught.value), "that change has made none"


def test_another_text_of_one_that_was_made_is_refused(machine: StoreMachine) -> None:
    wanted = inputs(machine, migrations=[migration()])
    SERVICE.create(wanted, quiet)
    with pytest.raises(UnderstudyError, match="with another text"):
        SERVICE.update("", wanted, inputs(machine, migrations=[migration(f"{UP}-- more\n")]), {}, quiet)
    mended = inputs(machine, migrations=[migration(back="DROP TABLE IF EXISTS note;\n")])
    SERVICE.update("", wanted, mended, {}, quiet)


def test_killed_between_its_steps_the_next_run_has_it_wholly(machine: StoreMachine, shell: Shell) -> None:
    wanted = inputs(machine, migrations=[migration()])
    steps = [step for step in steps_of(wanted, observe(shell, wanted)) if step.place == "machine"]
    at = next(index for index, step in enumerate(steps) if step.name.startswith("migrate "))
    for count, whole in ((at, False), (at + 1, True)):
        for step in steps[:count]:
            shell.run(("bash", "-c", step.command))
        assert tables(machine)[0] is whole
        SERVICE.create(wanted, quiet)
        assert tables(machine) == (True, ["add-note"])
        back_out(shell, newest(shell))
        assert tables(machine) == (False, [])


def test_what_a_person_does_is_waited_for_where_a_check_can_tell(machine: StoreMachine, shell: Shell) -> None:
    switch = {
        "name": "switch",
        "text": "Flip the switch; it's behind the door.",
        "needs": ["The porter"],
        "check": ["cat", "/etc/switch"],
        "prints": "on",
        "back_out": "Flip it back.",
    }
    wanted = inputs(machine, by_hand=[switch])
    assert SERVICE.check(wanted) == ()
    assert people(wanted, observe(shell, wanted)) == ("The porter (for: switch)",)
    with pytest.raises(UnderstudyError, match="not done yet, by hand: Flip the switch; it's behind"):
        SERVICE.create(wanted, quiet)
    assert changes_on(shell) == (), "nothing was begun"
    machine.shell("bash", "-c", "echo on >/etc/switch")
    SERVICE.create(wanted, quiet)
    machine.shell("rm", "/etc/switch")
    later = {**wanted, "files": {"/etc/schema.conf": {"content": "two\n"}}}
    SERVICE.update("", wanted, later, {}, quiet)
    said = back_out(shell, newest(shell)).splitlines()
    assert said[-1] == "backed out", "it was done for an earlier change"
    said = back_out(shell, newest(shell)).splitlines()
    assert said[-2:] == ["STILL TO DO: Flip it back.", EXCEPT]


def test_what_no_check_can_tell_waits_for_a_signed_word(machine: StoreMachine, tmp_path: Path) -> None:
    call = {"name": "call", "text": "Call the provider."}
    evidence = {"stack": "prod", "project_directory": str(tmp_path)}
    wanted = inputs(machine, by_hand=[call], evidence=evidence)
    digest = by_hand_digest("schema", call)
    command = f"understudy change word {digest} --by-hand -s prod"
    with pytest.raises(UnderstudyError, match=f"nothing was touched:\nby hand: call: Call the provider.*{command}"):
        SERVICE.create(wanted, quiet)
    shown = "\n".join(SERVICE.shouts(wanted, {"backup": "x"}, planned=True))
    assert "by hand first, on db1: call: Call the provider." in shown
    assert (
        f"REFUSED in an update until then: by hand: call: Call the provider. Once it is done: ./run {command}" in shown
    )
    put(tmp_path, "prod", make_signer(tmp_path, "anna"), "word", {"change": digest, "why": "I did"})
    SERVICE.create(wanted, quiet)
    assert "by hand" not in "\n".join(SERVICE.shouts(wanted, {"backup": "x"}, planned=True))
    changed = inputs(machine, by_hand=[{**call, "text": "Call them again."}], evidence=evidence)
    with pytest.raises(UnderstudyError, match="Call them again"):
        SERVICE.update("", wanted, changed, {}, quiet)


def test_a_robot_types_it_out_of_the_document(machine: StoreMachine, shell: Shell, tmp_path: Path) -> None:
    seen = {"name": "look", "text": "Look out.", "check": ["true"], "back_out": "Look in."}
    wanted = inputs(machine, by_hand=[seen], migrations=[migration()])
    part = service_part(wanted, observe(shell, wanted))
    assert part is not None
    text = document_of(part)
    for told in ("Look out.", "Look in.", "CREATE TABLE note", "Migration of the database: add-note."):
        assert told in text
    type_it(shell, tmp_path, text, "do")
    assert tables(machine) == (True, ["add-note"])
    assert service_part(wanted, observe(shell, wanted)) is None, "nothing is left to do"
    type_it(shell, tmp_path, text, "undo")
    assert tables(machine) == (False, [])


def type_it(shell: Shell, tmp_path: Path, text: str, kind: str) -> None:
    with Robot(shell, tmp_path) as robot:
        assert robot.type_part(text, f"{shell.connection.name}:schema", kind)
