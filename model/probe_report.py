"""What a probe found, as lines for people and as a record for programs; pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from model.capacity import CLOUDS
from model.probed import ProbedHost, room


def in_lines(probed: Sequence[ProbedHost]) -> Iterable[str]:
    """Return a table of the hosts that can be used, the ways between them, and why the others cannot."""
    rows = [_COLUMNS, *(_row(each) for each in probed if each.usable and not each.host.is_cloud)]
    if len(rows) > 1:
        widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
        yield from (
            "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows
        )
    for each in probed:
        if each.host.is_cloud:
            cloud = f"{CLOUDS[each.host.kind]} in {each.host.region}"
            yield f"{each.host.name}: {cloud}, up to {each.host.budget_per_month:g} a month; not probed"
        elif not each.usable:
            yield f"{each.host.name}: out: {each.why_not}{f'. {each.todo}' if each.todo else ''}"
        else:
            yield from _remarks(each)


_COLUMNS = (
    *("host", "cores", "load", "GiB free", "promised", "disk free", "promised", "writes", "reads"),
    *("by", "for a stage", "took"),
)


def _row(each: ProbedHost) -> tuple[str, ...]:
    speed, rest = each.disk_speed, room(each)
    return (
        each.host.name,
        f"{each.cores} {each.architecture}",
        f"{each.load:.1f}",
        f"{_gib(each.free_memory_mib)} of {_gib(each.memory_mib)}",
        _gib(each.promised_memory_mib),
        f"{_gib(each.free_disk_mib)} of {_gib(each.disk_mib)}",
        _gib(each.promised_disk_mib),
        f"{speed.write:.0f} MiB/s" if speed else "?",
        f"{speed.read:.0f} MiB/s" if speed and speed.read else "?",
        each.accelerator.kind if each.accelerator else "?",
        f"{rest.vcpus} vcpus, {_gib(rest.memory_mib)}, {_gib(rest.disk_mib)}",
        f"{each.seconds:.1f} s",
    )


def _remarks(each: ProbedHost) -> Iterable[str]:
    name = each.host.name
    tried = f"; {each.accelerator.reason}" if each.accelerator else ""
    yield f"{name}: libvirt {each.libvirt}, QEMU {each.hypervisor}{tried}"
    for link in each.links:
        if link.milliseconds is None:
            yield f"{name}: {link.to} does not answer from here"
        else:
            rate = f", {link.mib_per_second:.0f} MiB/s" if link.mib_per_second else ""
            yield f"{name} to {link.to}: {link.milliseconds:.1f} ms{rate}"
    yield from (f"{name}: could not be read: {unread.fact}: {unread.reason}" for unread in each.unread)


def _gib(mib: int) -> str:
    return f"{mib / 1024:.1f}"


def in_record(probed: Sequence[ProbedHost]) -> dict[str, object]:
    """Return the same as plain values, sizes in MiB."""
    return {each.host.name: _record(each) for each in probed}


def _record(each: ProbedHost) -> dict[str, object]:
    if each.host.is_cloud:
        return {"kind": each.host.kind, "region": each.host.region, "budget_per_month": each.host.budget_per_month}
    if not each.usable:
        return {"usable": False, "why_not": each.why_not, "todo": each.todo, "seconds": round(each.seconds, 3)}
    rest, speed = room(each), each.disk_speed
    return {
        "usable": True,
        "architecture": each.architecture,
        "cores": each.cores,
        "load": each.load,
        "memory_mib": each.memory_mib,
        "free_memory_mib": each.free_memory_mib,
        "promised_memory_mib": each.promised_memory_mib,
        "disk_mib": each.disk_mib,
        "free_disk_mib": each.free_disk_mib,
        "promised_disk_mib": each.promised_disk_mib,
        "write_mib_per_second": round(speed.write, 1) if speed else None,
        "read_mib_per_second": round(speed.read, 1) if speed and speed.read else None,
        "accelerator": {"kind": each.accelerator.kind, "reason": each.accelerator.reason} if each.accelerator else None,
        "libvirt": each.libvirt,
        "qemu": each.hypervisor,
        "on_battery": each.on_battery,
        "guests": [guest.name for guest in each.guests],
        "for_a_stage": {"vcpus": rest.vcpus, "memory_mib": rest.memory_mib, "disk_mib": rest.disk_mib},
        "links": {
            link.to: {"milliseconds": link.milliseconds, "mib_per_second": link.mib_per_second} for link in each.links
        },
        "unread": {unread.fact: unread.reason for unread in each.unread},
        "seconds": round(each.seconds, 3),
    }
