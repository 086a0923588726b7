"""The by-hand equivalent of what Understudy does to the machines themselves: the same with ``virsh``. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from model.change import Step
from model.change.document import Part
from model.change.planned import Planned
from model.libvirt_xml import replaced_by
from provisioners.commands import command_line, typed_with

_MACHINES = frozenset({"libvirt:index/domain:Domain"})
_VIRSH = ("virsh", "--connect", "qemu:///system")


def part_of(planned: Planned) -> Part | None:
    """Return what is typed instead of one planned step on a machine, disk or network; None for every other resource."""
    build = _BUILDERS.get(planned.kind)
    return build(planned) if build else None


def in_words(planned: Planned) -> str:
    """Return what Understudy itself does, where a person would type nothing.

    >>> in_words(Planned(operation="update", kind="understudy:index:Fence", name="fence", differing=("ruleset",)))
    'Fence fence is changed (ruleset)'
    """
    verbs = {"create": "is made", "update": "is changed", "replace": "is made anew", "delete": "is taken away"}
    differing = f" ({', '.join(planned.differing[:5])})" if planned.differing else ""
    return f"{planned.kind.rpartition(':')[2]} {planned.name} {verbs[planned.operation]}{differing}"


def restarts(planned: Planned) -> bool:
    """Return whether a machine is away while a planned step is done."""
    return planned.kind in _MACHINES and planned.operation in ("update", "replace")


def _part(planned: Planned, effect: str, steps: tuple[Step, ...], undo: tuple[Step, ...], *notes: str) -> Part:
    name = f"{planned.kind.rpartition(':')[2]}:{planned.name}".replace(" ", "-")
    return Part(name=name, machine="", effect=effect, steps=steps, undo=undo, notes=notes)


def _typed(name: str, *argv: str) -> Step:
    command = f"{command_line(argv)} && echo done\n"
    return Step(name=name, command=command, prints="done", place="controller")


def _fed(name: str, content: str, *argv: str) -> Step:
    """Return a step whose command reads a document, which stands in the text as it is."""
    return Step(name=name, command=typed_with(argv, content, "done"), prints="done", place="controller")


def _off(domain: str) -> Step:
    """Return the step that shuts a machine down cleanly, and waits until it is off."""
    command = (
        f"{command_line((*_VIRSH, 'shutdown', domain))}\n"
        f"until [ \"$({command_line((*_VIRSH, 'domstate', domain))})\" = 'shut off' ]; do sleep 1; done; echo off\n"
    )
    return Step(name="shut it down cleanly", command=command, prints="off", place="controller")


def _domain(planned: Planned) -> Part:
    """A machine: defined and started, or shut down first. Its XML stands in its start's inputs."""
    before, after = (_xml(values) for values in (planned.before, planned.after))
    name = str((planned.after or planned.before).get("name", planned.name))
    start, stop = _typed("start it", *_VIRSH, "start", name), _off(name)
    forget = _typed("let libvirt forget it; its disks stay", *_VIRSH, "undefine", name)
    define = _fed("describe it to libvirt", after, *_VIRSH, "define", "/dev/stdin")
    again = _fed("describe it as it was", before, *_VIRSH, "define", "/dev/stdin")
    if planned.operation == "create":
        return _part(planned, f"The machine {name} is made and started.", (define, start), (stop, forget))
    if planned.operation == "delete":
        return _part(planned, f"The machine {name} is shut down and forgotten.", (stop, forget), (again, start))
    effect = (
        f"The machine {name} is shut down cleanly and started anew; its disks stay. It is away until it has booted."
    )
    return _part(planned, effect, (stop, define, start), (stop, again, start))


def _xml(values: Mapping[str, Any]) -> str:
    """Return the XML of a domain, network or volume: it reaches libvirt through a stylesheet that replaces all."""
    return replaced_by(str((values.get("xml") or {}).get("xslt", "")))


def _network(planned: Planned) -> Part:
    name = str((planned.after or planned.before).get("name", planned.name))
    define = _fed("describe it to libvirt", _xml(planned.after), *_VIRSH, "net-define", "/dev/stdin")
    start = _typed("start it", *_VIRSH, "net-start", name)
    end = _typed("end it", *_VIRSH, "net-destroy", name), _typed("forget it", *_VIRSH, "net-undefine", name)
    again = _fed("describe it as it was", _xml(planned.before), *_VIRSH, "net-define", "/dev/stdin"), start
    if planned.operation == "create":
        return _part(planned, f"The network {name} is made.", (define, start), end)
    if planned.operation == "delete":
        return _part(planned, f"The network {name} is removed.", end, again)
    effect = f"The network {name} is made anew: its machines are cut off from each other meanwhile."
    return _part(planned, effect, (*end, define, start), (*end, *again))


def _volume(planned: Planned) -> Part:
    values = planned.after or planned.before
    name, pool = str(values.get("name", planned.name)), str(values.get("pool", ""))
    create = _fed("make it", _xml(planned.after), *_VIRSH, "vol-create", "--pool", pool, "/dev/stdin")
    remove = _typed("remove it", *_VIRSH, "vol-delete", "--pool", pool, name)
    if planned.operation == "create":
        return _part(planned, f"The disk {name} is made, empty or as a clone of its template.", (create,), (remove,))
    lost = "What is on it is lost: the only way back is a restore from the backup."
    fetch = Step(name="restore", command="Restore its data from the newest good backup.", place="person")
    if planned.operation == "delete":
        return _part(planned, f"The disk {name} is removed.", (remove,), (fetch,), lost)
    return _part(planned, f"The disk {name} is made anew.", (remove, create), (fetch,), lost)


def _pool(planned: Planned) -> Part:
    values = planned.after or planned.before
    name, path = str(values.get("name", planned.name)), str((values.get("target") or {}).get("path", ""))
    make = (
        _typed("describe it", *_VIRSH, "pool-define-as", name, "dir", "--target", path),
        _typed("make its directory", *_VIRSH, "pool-build", name),
        _typed("start it", *_VIRSH, "pool-start", name),
    )
    end = _typed("end it", *_VIRSH, "pool-destroy", name), _typed("forget it", *_VIRSH, "pool-undefine", name)
    if planned.operation == "delete":
        return _part(planned, f"The storage pool {name} is removed.", end, make)
    return _part(planned, f"The storage pool {name} is made in {path}.", make, end)


_BUILDERS: Mapping[str, Callable[[Planned], Part]] = {
    "libvirt:index/domain:Domain": _domain,
    "libvirt:index/network:Network": _network,
    "libvirt:index/volume:Volume": _volume,
    "libvirt:index/pool:Pool": _pool,
}
