"""Takes a service on a machine that was there before us for what it is: nothing is changed by becoming ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from model.errors import UnderstudyError
from provisioners.changes.observed import Observed
from provisioners.changes.parts import Parts, parts
from provisioners.changes.trying import tried
from provisioners.changes.written import differences, effect
from provisioners.shell import Shell


def other(shell: Shell, inputs: Mapping[str, Any], found: Observed) -> tuple[str, ...]:
    """Return in what a service on a machine is other than Git has it, in lines; nothing where it is the same.

    Args:
        shell: the machine.
        inputs: of the kind ``understudy:index:Service``.
        found: what is on the machine.
    """
    changed = replace(parts(inputs, found), settle=False)  # no change of ours has to be there
    if changed == Parts(tool=True):  # we never applied it: whether it would change anything, it says itself
        return tuple(tried(shell, inputs).splitlines())
    return (effect(inputs, changed, found), *differences(inputs, found, changed)) if changed else ()


def refuse_other(shell: Shell, inputs: Mapping[str, Any], found: Observed) -> None:
    """See that a service is as Git has it.

    Raises:
        UnderstudyError: it is not.
    """
    if lines := other(shell, inputs, found):
        name, service = inputs["connection"]["name"], inputs["service"]
        raise UnderstudyError(
            where=f"{name}: {service}",
            found="\n".join(("it was there before us, and is other than Git has it; an update would do this:", *lines)),
            wanted="a service as it is there, before it is changed",
            todo=f"Nothing was touched. Make services/{service} say what is on {name}, or take {name} out of the "
            "service's machines, and run it again; then change it.",
        )
