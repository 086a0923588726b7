"""A rollout that stopped at a machine: which machines are taken back, in which order, and the state after it. Pure.

Before an update the services in the state are noted down, with what each was made of. After one that failed, the state
tells which of them were changed; with the note, what was changed is taken back to what was noted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from model.change.planned import SERVICE
from model.change.rehearsing import with_again

_COLOUR = re.compile(r"<\{%[a-z ]*%\}>")
_CHANGING = ("create", "update", "replace", "create-replacement", "import", "delete")


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A service on a machine whose change failed.

    Args:
        urn: of the resource.
        why: what the provider said of it, on one line.
        new: it was to be made there, and the state has none.
        goes: it was to be taken away.
    """

    urn: str
    why: str = ""
    new: bool = False
    goes: bool = False

    @property
    def machine(self) -> str:
        """Return the machine's name.

        >>> Failed(urn="urn:pulumi:prod::understudy::understudy:index:Service::app2:web").machine
        'app2'
        """
        return _name(self.urn)[0]

    @property
    def service(self) -> str:
        """Return the service's name."""
        return _name(self.urn)[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """A service on a machine that the rollout has reached, whether it was changed there or failed.

    Args:
        urn: of the resource.
        inputs: as the state has them: with how the machine is reached.
        since: the directory of the newest change that was kept there before the rollout; empty for none.
        backup: the one that the state has now.
    """

    urn: str
    inputs: Mapping[str, Any]
    since: str
    backup: str

    @property
    def machine(self) -> str:
        """Return the machine's name."""
        return _name(self.urn)[0]

    @property
    def service(self) -> str:
        """Return the service's name."""
        return _name(self.urn)[1]

    def above(self, directory: str) -> bool:
        """Tell whether a change whose copies are in this directory belongs to the rollout.

        >>> Reached(urn="a::b:c", inputs={}, since="/c/20261101T000000Z-a", backup="").above("/c/20261102T000000Z-b")
        True
        """
        return directory > self.since if self.since else directory == self.backup


def _name(urn: str) -> tuple[str, str]:
    machine, _, service = urn.rpartition("::")[2].partition(":")
    return machine, service


def noted(deployment: Mapping[str, Any], earlier: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the note that is taken before an update.

    Args:
        deployment: what ``pulumi stack export`` printed, parsed.
        earlier: the note of an update that was cut off: what it had of a service stands, since the rollout goes on.
    """
    services = {
        each["urn"]: {"inputs": each.get("inputs") or {}, "outputs": each.get("outputs") or {}}
        for each in _services(deployment)
    }
    machines = sorted({each for resource in _resources(deployment) if (each := _machine(resource))})
    above = {each.get("parent") for each in _services(deployment)}
    whole = [each for each in _resources(deployment) if each["urn"] in services or each["urn"] in above]
    if earlier is None:
        return {"services": services, "machines": [list(each) for each in machines], "resources": whole}
    known = {each["urn"] for each in earlier.get("resources") or ()}
    more = [each for each in whole if each["urn"] not in known]
    resources = [*(earlier.get("resources") or ()), *more]
    return {**earlier, "services": {**services, **earlier["services"]}, "resources": resources}


def _machine(resource: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the machine that a resource is on, with its generation: a new machine has nothing to be taken back to."""
    inputs = resource.get("inputs") or {}
    connection, generation = inputs.get("connection"), inputs.get("generation")
    if isinstance(connection, Mapping) and isinstance(generation, str):
        return str(connection.get("name")), generation
    return None


def errors_in(lines: Iterable[str]) -> tuple[str, ...]:
    """Return what went wrong with resources, out of an event log of the engine's: each once, after its name.

    >>> event = {"urn": "a::front", "severity": "error", "message": "<{%reset%}>no page"}
    >>> errors_in([json.dumps({"diagnosticEvent": event})])
    ('front: no page',)
    """
    said = _said(map(_parsed, lines))
    named = (f"{urn.rpartition('::')[2]}: {words}" for urn, words in said if "::pulumi:pulumi:Stack::" not in urn)
    return tuple(dict.fromkeys(named))


def failed_in(lines: Iterable[str]) -> tuple[Failed, ...]:
    """Return the services on machines whose change failed, out of an event log of the engine's.

    Source: pulumi, sdk/go/common/apitype/events.go: resOpFailedEvent.
    """
    failed: dict[str, Failed] = {}
    events = [_parsed(line) for line in lines]
    why = dict(reversed([*_said(events)]))  # the first that was said of each
    for event in events:
        metadata = (event.get("resOpFailedEvent") or {}).get("metadata") or {}
        if metadata.get("type") == SERVICE and metadata.get("op") in _CHANGING:
            operation = metadata["op"]
            failed[metadata["urn"]] = Failed(urn=metadata["urn"], new=operation == "create", goes=operation == "delete")
    return tuple(replace(each, why=why.get(urn, "")) for urn, each in failed.items())


def _said(events: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Yield what was said of resources as an error, each with the resource's URN, on one line.

    Source: pulumi, sdk/go/common/apitype/events.go: diagnosticEvent; pkg/backend/display, `<{%reset%}>` is a colour.
    """
    for event in events:
        diagnostic = event.get("diagnosticEvent") or {}
        if diagnostic.get("severity") == "error" and diagnostic.get("urn"):
            yield diagnostic["urn"], " ".join(_COLOUR.sub("", str(diagnostic.get("message", ""))).split())[:400]


def _parsed(line: str) -> Mapping[str, Any]:
    try:
        event = json.loads(line)
    except ValueError:
        return {}  # the last line of a run that was killed
    return event if isinstance(event, Mapping) else {}


def reached(note: Mapping[str, Any], deployment: Mapping[str, Any], failed: Collection[Failed]) -> tuple[Reached, ...]:
    """Return where the failed services were changed, taken away or tried, in the order in which that is taken back.

    Args:
        note: as it was taken before the update.
        deployment: the state after it.
        failed: what failed in it.
    """
    services, urns = {each.service for each in failed}, {each.urn for each in failed}
    machines = {tuple(each) for each in note["machines"]}
    found = []
    for resource in _services(deployment):  # what others depend on stands before them
        urn, before = str(resource["urn"]), note["services"].get(resource["urn"])
        if _name(urn)[1] not in services or _machine(resource) not in machines:
            continue
        since, backup = (_backup(each) for each in (before or {}, resource))
        if urn in urns or since != backup:
            found.append(Reached(urn=urn, inputs=resource.get("inputs") or {}, since=since, backup=backup))
    return (*reversed(found), *(each for each in _gone(note, deployment) if each.service in services))


def _gone(note: Mapping[str, Any], deployment: Mapping[str, Any]) -> Iterator[Reached]:
    """Yield the services that were taken away from machines that are still there.

    What is noted of a machine's key is encrypted; the state has it in the machine's other resources.
    """
    here = {str(each["urn"]) for each in _resources(deployment)}
    ways = {each: resource["inputs"] for resource in _resources(deployment) if (each := _machine(resource))}
    for each in note.get("resources") or ():
        machine, anchor = _machine(each), str(each.get("deletedWith") or "")
        if each.get("type") == SERVICE and each["urn"] not in here and machine and (not anchor or anchor in here):
            inputs = {**each["inputs"], **ways.get(machine, {})}
            yield Reached(urn=each["urn"], inputs=inputs, since=_backup(each), backup="")


def untouched(
    note: Mapping[str, Any], deployment: Mapping[str, Any], failed: Collection[Failed]
) -> tuple[tuple[str, str], ...]:
    """Return machine and service where a failed service is and the rollout has not come to, in order."""
    there = {each.urn for each in reached(note, deployment, failed)}
    services = {each.service for each in failed}
    every = (str(each["urn"]) for each in _services(deployment))
    return tuple(sorted(_name(urn) for urn in every if _name(urn)[1] in services and urn not in there))


def with_noted(deployment: Mapping[str, Any], note: Mapping[str, Any], urns: Collection[str]) -> dict[str, Any]:
    """Return a state in which these services are what was noted; one that was not there yet is there no more.

    One that was taken away is there again.

    >>> with_noted({"deployment": {"resources": [{"urn": "a"}]}}, {"services": {}}, {"a"})["deployment"]["resources"]
    []
    """
    here = {each["urn"] for each in _resources(deployment)}
    if again := sorted(urn.rpartition("::")[2] for urn in urns if urn not in here):
        deployment = with_again(deployment, {"deployment": {"resources": note.get("resources") or ()}}, again)
    gone = {urn for urn in urns if urn not in note["services"]}
    kept = [
        {**each, **note["services"][each["urn"]]} if each["urn"] in urns else _without(each, gone)
        for each in _resources(deployment)
        if each["urn"] not in gone
    ]
    return {**deployment, "deployment": {**deployment["deployment"], "resources": kept}}


def _without(resource: Mapping[str, Any], gone: Collection[str]) -> Mapping[str, Any]:
    """Return a resource that depends on none of these."""
    if not gone:
        return resource
    by_property = resource.get("propertyDependencies") or {}
    less = {
        "dependencies": [urn for urn in resource.get("dependencies") or () if urn not in gone],
        "propertyDependencies": {
            key: [urn for urn in urns or () if urn not in gone] for key, urns in by_property.items()
        },
    }
    return {**resource, **{key: value for key, value in less.items() if key in resource}}


def _backup(resource: Mapping[str, Any]) -> str:
    return str((resource.get("outputs") or {}).get("backup") or "")


def _services(deployment: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    return (each for each in _resources(deployment) if each.get("type") == SERVICE and not each.get("delete"))


def _resources(deployment: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = (deployment.get("deployment") or {}).get("resources") or []
    return found
