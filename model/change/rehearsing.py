"""What a rehearsal has to try, on a stage that may have gone ahead of prod already. Pure.

Prod's gate asks about the change from what it let through last to what Git has. So that is what has to be tried,
whatever the stage went through meanwhile: changes that prod has not are taken back there first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from model.change.digest import NOTHING, change_digest, machine_digest, machine_name
from model.change.kept import KeptChange
from model.change.planned import BOOT, SERVICE, Planned
from model.errors import UnderstudyError
from model.evidence.rehearsal import AUTOMATIC, NO_CHECK, RehearsedChange

Base = Mapping[str, str] | None
"""The digest of each service that prod's gate let through last, `NOTHING` where Git has it and prod not yet.

What is not in it prod's gate never asks about. None where prod has no gate yet.
"""
_COMING = ("same", "create", "update", "replace")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What Git has for a stage.

    Args:
        services: the digest of each service.
        places: machine and service of each that is on the stage now, or is to be, and the digest that is to be there.
    """

    services: Mapping[str, str]
    places: Mapping[tuple[str, str], str]

    def changes(self, service: str, base: Base) -> bool:
        """Return whether prod is to get another one."""
        return base is not None and service in base and base[service] != self.services.get(service, NOTHING)


def wanted(preview: Mapping[str, Any]) -> Wanted:
    """Return what Git has for the stage that was previewed."""
    places: dict[tuple[str, str], str] = {}
    for step in preview.get("steps") or ():
        _, _, kinds, name = str(step["urn"]).split("::", 3)
        if kinds.rpartition("$")[2] != SERVICE or step["op"] not in (*_COMING, "delete"):
            continue
        after = (step.get("newState") or {}).get("inputs") or {} if step["op"] in _COMING else {}
        machine, _, service = name.partition(":")
        places[machine, service] = str(after.get("digest") or NOTHING)
    services = {service: digest for (_, service), digest in places.items() if digest != NOTHING}
    return Wanted(services=services, places=places)


def ahead(kept: Sequence[KeptChange], base: str) -> tuple[KeptChange, ...] | None:
    """Return those of the kept changes of a service on a machine that prod has not, None where that can't be told.

    Args:
        kept: the newest first.
        base: the digest that prod has.
    """
    known = [change.digest for change in kept]
    if not kept or known[0] in (base, ""):
        return ()
    if base == NOTHING:
        return tuple(kept)
    return tuple(kept[: known.index(base)]) if base in known else None


def refuse_other_start(stack: str, steps: Sequence[Planned], there: Wanted, base: Base) -> None:
    """See that what is tried begins where prod stands, on each machine.

    Raises:
        UnderstudyError: it does not.
    """
    before = {_place(step): digest_of(step.before) for step in steps}
    wrong = [
        f"{machine}:{service}"
        for (machine, service), digest in sorted(there.places.items())
        if there.changes(service, base)
        and base is not None
        and (before.get((machine, service), digest) not in (base.get(service, NOTHING), NOTHING))
    ]
    if wrong:
        raise other_start(stack, wrong)


def other_start(stack: str, places: Sequence[str]) -> UnderstudyError:
    """Return the error that says how the stage comes to where prod stands."""
    names = " ".join(sorted({f"services/{place.partition(':')[2]}" for place in places}))
    return UnderstudyError(
        where=f"stack {stack}",
        found=f"it does not have what prod has, nor copies of it: {', '.join(places)}",
        wanted="a stage that begins where prod stands: only then is what prod gets what was tried",
        todo=f"Commit or stash your edit, then bring it there once: git checkout COMMIT -- {names} (as prod has it; "
        "prod's own file too, where a service's machines are others now); "
        f"./run pulumi up -s {stack}; git checkout HEAD -- {names}. With your edit back, rehearse.",
    )


def digest_of(values: Mapping[str, Any]) -> str:
    """Return the digest among a service's inputs; `NOTHING` where it is not there."""
    return str(values.get("digest") or NOTHING)


def changes(steps: Sequence[Planned], there: Wanted | None = None, base: Base = None) -> tuple[RehearsedChange, ...]:
    """Return the changes that planned steps of services are, each with all its machines.

    Args:
        steps: the planned steps.
        there: what Git has for the stage.
        base: what prod has: the change that prod's gate asks about is from there.
    """
    found: dict[str, list[Planned]] = {}
    for step in steps:
        for digest in _digests(step, there, base):
            found.setdefault(digest, []).append(step)
    return tuple(
        RehearsedChange(
            digest=each,
            service=_place(same[0])[1],
            machines=tuple(sorted(_place(step)[0] for step in same)),
            check=AUTOMATIC if _checked(same) else NO_CHECK,
        )
        for each, same in sorted(found.items())
    )


def resized(steps: Sequence[Planned]) -> tuple[Planned, ...]:
    """Return the planned starts of machines that are new, or have other sizes."""
    boots = (step for step in steps if step.kind == BOOT and ("sizes" in step.before or not step.before))
    return tuple(step for step in boots if step.before.get("sizes") != step.after.get("sizes"))


def with_bigger_disk(boot: Planned) -> bool:
    """Return whether a machine that is there gets a bigger data disk, which is not made smaller again."""
    before, after = ((values.get("sizes") or {}).get("data_disk_mib", 0) for values in (boot.before, boot.after))
    return bool(0 < before < after)


def sizes_before(boot: Planned) -> dict[str, int] | None:
    """Return the sizes that a change of a machine is taken back to; None for a machine that was not there."""
    before: dict[str, int] | None = boot.before.get("sizes")
    if before is None or not with_bigger_disk(boot):
        return before
    return {**before, "data_disk_mib": boot.after["sizes"]["data_disk_mib"]}


def changes_of_machines(boots: Sequence[Planned]) -> tuple[RehearsedChange, ...]:
    """Return the changes that planned starts of machines are: that they came up, and answered, is their check."""

    def digest(name: str, values: Mapping[str, Any]) -> str:
        return machine_digest(name, values["sizes"]) if values.get("sizes") else NOTHING

    return tuple(
        RehearsedChange(
            digest=change_digest(digest(step.name, step.before), digest(step.name, step.after)),
            service=machine_name(step.name),
            machines=(step.name,),
            check=AUTOMATIC,
        )
        for step in boots
    )


def _checked(steps: Sequence[Planned]) -> bool:
    """Return whether each machine that has the service has checked it; where it goes, nothing has."""
    staying = [step for step in steps if step.after]
    return bool(staying) and all(step.after.get("checks") for step in staying)


def _digests(step: Planned, there: Wanted | None, base: Base) -> Iterator[str]:
    service = _place(step)[1]
    if there is not None and base is not None and there.changes(service, base):
        yield change_digest(base.get(service, NOTHING), there.services.get(service, NOTHING))
    else:
        yield change_digest(digest_of(step.before), digest_of(step.after))


def _place(step: Planned) -> tuple[str, str]:
    machine, _, service = step.name.partition(":")
    return machine, service


def service_digests(deployment: Mapping[str, Any]) -> dict[str, str]:
    """Return the digest of each service on each machine, by the resource's name, as a state has it."""
    resources = (deployment.get("deployment") or {}).get("resources") or ()
    mine = (each for each in resources if each.get("type") == SERVICE and not each.get("delete"))
    return {each["urn"].rpartition("::")[2]: digest_of(each.get("inputs") or {}) for each in mine}


def refuse_another_text(planned: Sequence[Planned], before: Mapping[str, str], after: Mapping[str, str]) -> None:
    """See that what was applied is what was looked at in the beginning: Git is read anew by each update.

    Args:
        planned: the planned steps of services.
        before: the digests in the state before, by the resource's name.
        after: those after.

    Raises:
        UnderstudyError: something was edited meanwhile.
    """
    expected = {**before, **{step.name: digest_of(step.after) for step in planned}}
    other = [name for name in sorted({*expected, *after}) if expected.get(name, NOTHING) != after.get(name, NOTHING)]
    if other:
        raise UnderstudyError(
            where=", ".join(other),
            found="Git was edited while it was rehearsed: what was applied is not what was looked at first",
            todo="Leave services/ alone until a rehearsal ends, then rehearse it anew.",
        )


def with_again(deployment: Mapping[str, Any], before: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Return a state in which services are again that an update took out of it.

    Args:
        deployment: the state now.
        before: the state before, exported with the same key.
        names: of the resources.
    """
    there = list(deployment["deployment"].get("resources") or ())
    old: Mapping[str, Mapping[str, Any]] = {each["urn"]: each for each in before["deployment"].get("resources") or ()}
    known = {each["urn"] for each in there}
    gone = {urn for urn, each in old.items() if each.get("type") == SERVICE and urn.rpartition("::")[2] in names}
    gone |= {str(old[urn].get("parent")) for urn in gone}
    for urn, each in old.items():
        if urn in gone - known:
            known.add(urn)
            there.append({**each, "dependencies": [one for one in each.get("dependencies") or () if one in known]})
            there[-1].pop("propertyDependencies", None)
    return {**deployment, "deployment": {**deployment["deployment"], "resources": there}}
