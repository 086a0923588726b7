"""Networks in a rule of a cloud's fence that are the addresses of machines elsewhere: those are asked for. Pure.

A preview does not know an address that is yet to be rented. Once it is, whichever cloud it is of says it.
Source: AWS CLI, ec2 describe-addresses; gcloud compute addresses describe; az network public-ip list, and JMESPath.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from model.change.planned import Needed, Planned
from provisioners.changes.by_hand.common import known, variable_of, where
from provisioners.commands import Variable, line_with

Pieces = tuple[str | Variable, ...]
"""Of one argument."""


def networks(planned: Planned, key: str, values: Sequence[Any]) -> tuple[tuple[str, ...], tuple[Pieces, ...]]:
    """Return the lines that ask for what a preview does not know of some networks, and the pieces of each of these.

    Args:
        planned: the rule's step.
        key: its input that names networks.
        values: those networks, as they are or are planned.
    """
    if all(map(known, values)):
        return (), tuple((str(value),) for value in values)
    new = [each for each in planned.needs.get(key, ()) if each.kind in _ASKED and not each.identifier]
    lines = tuple(line_with(_ASKED[each.kind](each), into=_variable(each)) for each in new)
    asked = (Variable(name=_variable(each)) for each in new)
    return lines, tuple((str(value),) if known(value) else (next(asked), "/32") for value in values)


def joined(*pieces: str | Variable) -> str | Variable:
    r"""Return one argument of all these pieces.

    >>> str(joined("[10.0.0.0/24,", Variable(name="a"), "/32", ",10.1.0.0/24", "]"))
    '\'[10.0.0.0/24,\'"$a"\'/32,10.1.0.0/24]\''
    """
    argument: str | Variable = ""
    for piece in reversed(pieces):
        if isinstance(piece, Variable):
            argument = replace(piece, after=argument)
        elif isinstance(argument, str):
            argument = piece + argument
        else:
            argument = replace(argument, before=piece + argument.before)
    return argument


def listed(each: Sequence[Pieces]) -> Pieces:
    """Return the pieces of all, with commas between."""
    return tuple(piece for at, one in enumerate(each) for piece in (*((",",) if at else ()), *one))


def _variable(needed: Needed) -> str:
    return variable_of("address", needed.name)


def _of_aws(needed: Needed) -> tuple[str, ...]:
    tags = needed.inputs.get("tags") or {}
    mine = (f"Name=tag:{key},Values={tags[key]}" for key in ("Name", "owner"))
    region = where("--region", needed.provider.get("region"))
    query = ("--query", "Addresses[0].PublicIp", "--output", "text")
    return ("aws", *region, "ec2", "describe-addresses", "--filters", *mine, *query)


def _of_google(needed: Needed) -> tuple[str, ...]:
    place = where("--region", needed.inputs.get("region"))
    pays = where("--project", needed.provider.get("project"))
    name = str(needed.inputs.get("name"))
    return ("gcloud", "compute", "addresses", "describe", name, *place, *pays, "--format", "value(address)")


def _of_azure(needed: Needed) -> tuple[str, ...]:
    owner = str((needed.inputs.get("tags") or {}).get("owner"))
    mine = f"[?name=='{needed.inputs.get('name')}' && tags.owner=='{owner}'].ipAddress | [0]"
    pays = where("--subscription", needed.provider.get("subscriptionId"))
    return ("az", "network", "public-ip", "list", *pays, "--query", mine, "--output", "tsv")


_ASKED: Mapping[str, Callable[[Needed], tuple[str, ...]]] = {
    "aws:ec2/eip:Eip": _of_aws,
    "gcp:compute/address:Address": _of_google,
    "azure:network/publicIp:PublicIp": _of_azure,
}
