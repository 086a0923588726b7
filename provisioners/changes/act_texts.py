"""The steps of what a person does by hand, and of migrations of databases. Pure.

What a person does comes first: nothing on the machine is open while somebody fetches a tape. A migration is made in one
transaction together with the row that tells of it, so it is there wholly or not at all, and is never made twice. psql
gets our own fixed SQL on standard input; the migration's comes as a value, and is executed as one: it cannot end the
transaction, and nothing in it is taken for a command of psql's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from model.change import Step
from model.postgresql import programs
from provisioners.changes.acts import (
    EXCEPT,
    by_hand_digest,
    items,
    migration_digest,
    restore_words,
    whose_word,
)
from provisioners.changes.parts import Parts
from provisioners.changes.texts import Change, block, fenced
from provisioners.commands import command_line, word, words, written

# The lock makes a way back wait for what still runs. The owner's rights are enough; `RESET ROLE` gives the rest.
_MIGRATE = r"""\set sql `cat <&3`
BEGIN;
SELECT pg_catalog.pg_advisory_xact_lock(7211953) \g /dev/null
SET LOCAL client_min_messages = warning;
CREATE SCHEMA IF NOT EXISTS understudy;
CREATE TABLE IF NOT EXISTS understudy.migrations (service text, name text, digest text NOT NULL, change text NOT NULL,
    at timestamptz NOT NULL DEFAULT pg_catalog.now(), PRIMARY KEY (service, name));
SELECT count(*) = 0 AS wanted FROM understudy.migrations
    WHERE service = :'service' AND name = :'name' AND digest = :'digest' \gset
\if :wanted
INSERT INTO understudy.migrations (service, name, digest, change) VALUES (:'service', :'name', :'digest', :'change');
SELECT pg_catalog.set_config('understudy.sql', :'sql', true) \g /dev/null
SET LOCAL ROLE :"owner";
DO 'BEGIN EXECUTE pg_catalog.current_setting(''understudy.sql''); END';
\endif
COMMIT;
END"""


def by_hand_steps(inputs: Mapping[str, Any], changed: Parts) -> tuple[Step, ...]:
    """Return what a person does before anything is touched, and what shows that it is done."""
    steps: list[Step] = []
    for item in _of(inputs, "by_hand", changed.by_hand):
        name, text = item["name"], item["text"]
        told = [text, *(f"It needs: {who}." for who in item.get("needs") or ())]
        if signed := whose_word(inputs, item):
            told.append(f"Then whoever did it signs that: {signed}")
        back = item.get("back_out") or ""
        steps.append(Step(name=f"by hand: {name}", command=" ".join(told), inverse=back, place="person"))
        if item.get("check"):
            says = f"{inputs['service']}: done by hand: {name}"
            steps.append(Step(name=f"see that it is done: {name}", command=block(_seeing(item), says), prints=says))
    return tuple(steps)


def _seeing(item: Mapping[str, Any]) -> tuple[str, ...]:
    prints = f' && grep -qxFe {word(item["prints"])} <<<"$out"' if item.get("prints") else ""
    missing = word(f"not done yet, by hand: {item['text']}")
    return (
        f"if ! {{ out=$(timeout 20 {words(item['check'])} 2>&1){prints}; }}; then",
        f"    printf '%s\\n' \"$out\" {missing} >&2; exit 1",
        "fi",
    )


def left_to_persons(change: Change, inputs: Mapping[str, Any], changed: Parts) -> tuple[Step, ...]:
    """Return the step that notes what taking the change back leaves to a person; the script tells of it."""
    lines = [item["back_out"] for item in reversed(_of(inputs, "by_hand", changed.by_hand)) if item.get("back_out")]
    if not lines:
        return ()
    says = f"{change.service}: done: note what a person takes back"
    texts = written("still", "".join(f"{line}\n" for line in lines).encode())
    return (Step(name="note what a person takes back", command=fenced(change, texts, says), prints=says),)


def migration_steps(change: Change, inputs: Mapping[str, Any], changed: Parts) -> tuple[Step, ...]:
    """Return the steps that lay migrations down with their ways back, and make them."""
    every = [each["name"] for each in items(inputs, "migrations")]
    return tuple(
        step
        for item in _of(inputs, "migrations", changed.migrate)
        for step in _migration(change, inputs, item, f"migrations/{every.index(item['name']):03}-{item['name']}")
    )


def _migration(change: Change, inputs: Mapping[str, Any], item: Mapping[str, Any], folder: str) -> tuple[Step, ...]:
    name, argv = item["name"], psql(change.service, item)
    back = item.get("back_out")
    way_back = ("back.sql", back) if back is not None else ("restore", f"{restore_words(inputs, item)}\n")
    pieces = (
        *written(f"{folder}/up.sql", item["up"].encode()),
        *written(f"{folder}/{way_back[0]}", way_back[1].encode()),
    )
    steps = []
    for at, text in enumerate(pieces, start=1):
        begin = (f"mkdir -p {folder}",) if at == 1 else ()
        end = (f"printf '%s\\n' {words(argv)} >{folder}/psql; sync -f {folder}",) if at == len(pieces) else ()
        steps.append(
            _fenced(change, f"lay the migration {name} down, part {at} of {len(pieces)}", (*begin, text, *end))
        )
    make = (
        f": >{folder}/begun; sync -f {folder}",
        f"{command_line(argv)} --set=change=\"${{PWD##*/}}\" 3<{folder}/up.sql <<'END'",
        _MIGRATE,
    )
    return (*steps, _fenced(change, f"migrate {item['database']}: {name}", make, seconds=2))


def psql(service: str, item: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the command that takes our SQL about a migration from standard input, as the server's own account."""
    known = {
        "service": service,
        "name": item["name"],
        "digest": migration_digest(service, item),
        "owner": item["owner"],
    }
    place = ("--host=/var/run/postgresql", f"--port={item['port']}", f"--dbname={item['database']}")
    return (
        *("env", "PGCLIENTENCODING=UTF8", "setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "--"),
        *(f"{programs(item['version'])}/psql", "--no-psqlrc", "--quiet", "--no-align", "--tuples-only"),
        *("--set=ON_ERROR_STOP=1", *place, *(f"--set={key}={value}" for key, value in known.items()), "--file=-"),
    )


def _fenced(change: Change, name: str, lines: tuple[str, ...], *, seconds: int = 0) -> Step:
    says = f"{change.service}: done: {name}"
    return Step(name=name, command=fenced(change, lines, says), prints=says, seconds=seconds)


def noting(inputs: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the line that notes what a person has done by now, so that nobody is asked again."""
    digests = [by_hand_digest(str(inputs["service"]), item) for item in items(inputs, "by_hand")]
    return (f"printf '%s\\n' {words(digests)} >by-hand",) if digests else ()


def back_by_persons(inputs: Mapping[str, Any], changed: Parts) -> tuple[Step, ...]:
    """Return what a person does after a change's own script has taken it back, the last one first."""
    restored = (
        Step(name=f"take the migration {item['name']} back", command=restore_words(inputs, item), place="person")
        for item in reversed(_of(inputs, "migrations", changed.migrate))
        if item.get("back_out") is None
    )
    undone = (
        Step(name=f"take back by hand: {item['name']}", command=item["back_out"], place="person")
        for item in reversed(_of(inputs, "by_hand", changed.by_hand))
        if item.get("back_out")
    )
    return (*restored, *undone)


def says_back(inputs: Mapping[str, Any], changed: Parts) -> str:
    """Return the line that the script prints last that takes a change back."""
    return EXCEPT if back_by_persons(inputs, changed) else "backed out"


def _of(inputs: Mapping[str, Any], key: str, names: tuple[str, ...]) -> tuple[Mapping[str, Any], ...]:
    return tuple(each for each in items(inputs, key) if each["name"] in names)
