"""How commands of ``aws ec2`` are put together: where, on what, with which tags, and where an id goes. Pure.

Source: AWS CLI Command Reference, ec2.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from model.change import Step
from model.change.document import Part
from model.change.planned import Needed, Planned
from provisioners.changes.by_hand import common
from provisioners.changes.by_hand.common import known, variable_of, where
from provisioners.commands import Variable, line_with

ONE_SHELL = "All parts about AWS are typed into one and the same shell: ids of what is new are in its variables."

Argv = Sequence[str | Variable]


def ec2(planned: Planned, verb: str, *arguments: str | Variable) -> Argv:
    """Return a command, said where."""
    return ("aws", *where("--region", planned.provider.get("region")), "ec2", verb, *arguments)


def me(planned: Planned) -> str | Variable:
    """Return the id of what is planned: it is known, or in a variable once it was made."""
    return planned.identifier or Variable(name=variable_of(planned.kind, planned.name))


def id_(planned: Planned, key: str, before: str = "", after: str = "") -> str | Variable:
    """Return an argument with the id of another resource in it."""
    value = (planned.after or planned.before).get(key)
    return f"{before}{value}{after}" if known(value) else _of(planned.needs[key][0], before, after)


def ids(planned: Planned, key: str) -> tuple[str | Variable, ...]:
    """Return the arguments with the ids of several other resources, in any order."""
    values = (planned.after or planned.before).get(key) or ()
    if all(known(value) for value in values):
        return tuple(values)
    return tuple(_of(needed) for needed in planned.needs[key])


def main_table(planned: Planned, key: str) -> tuple[tuple[str, ...], str | Variable]:
    """Return the lines that ask for a network's main table of routes, where it is not known, and what has its id."""
    value = (planned.after or planned.before).get(key)
    value = value[0] if isinstance(value, list) and value else value
    if isinstance(value, str) and known(value):
        return (), value
    asked = ("--filters", _of(planned.needs[key][0], "Name=vpc-id,Values="), "Name=association.main,Values=true")
    query = ("--query", "RouteTables[0].RouteTableId", "--output", "text")
    into = f"{variable_of(planned.kind, planned.name)}_table"
    return (line_with(ec2(planned, "describe-route-tables", *asked, *query), into=into),), Variable(name=into)


def _of(needed: Needed, before: str = "", after: str = "") -> str | Variable:
    if needed.identifier:
        return f"{before}{needed.identifier}{after}"
    return Variable(name=variable_of(needed.kind, needed.name), before=before, after=after)


def tags(planned: Planned, *kinds: str) -> tuple[str, ...]:
    """Return the argument with the tags of what is made, of each kind of resource that is made at once."""
    values = planned.after
    told = {kind: values.get("volumeTags" if (kind, len(kinds)) == ("volume", 2) else "tags") or {} for kind in kinds}
    each = [
        {"ResourceType": kind, "Tags": [{"Key": key, "Value": str(tags[key])} for key in sorted(tags)]}
        for kind, tags in told.items()
        if tags
    ]
    return ("--tag-specifications", json.dumps(each)) if each else ()


def made(planned: Planned, query: str, argv: Argv) -> str:
    """Return the line that makes something and puts its id into a variable."""
    return line_with((*argv, "--query", query, "--output", "text"), into=variable_of(planned.kind, planned.name))


def whole(planned: Planned, what: str, make: Sequence[Step], remove: Sequence[Step]) -> tuple[Part, ...]:
    """Return the part of what is made, or removed; nothing for a change within it."""
    again = "It is made anew by hand, or by an update."
    return common.whole(planned, f"{what} {planned.name}", make, remove, ONE_SHELL, again=again)
