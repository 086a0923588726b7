"""What a computer could lend to virtual machines: its processors' load, room on disk, power, and its hypervisor."""

from __future__ import annotations

import re

from model.probed import Disk, DiskSpeed, Guest
from provisioners.facts.fact import ROOT, Fact

_MIB = 1024 * 1024
LIBVIRT_URI = "qemu:///system"
# Source: libvirt, virDomainState: 1 running, 2 blocked, 3 paused, 4 being shut down, 7 suspended.
_RUNNING = frozenset({1, 2, 3, 4, 7})


def parse_load(output: str) -> float:
    r"""Return how many processes ran or waited, the mean of the last minute.

    Source: proc(5), /proc/loadavg.

    >>> parse_load("0.20 0.18 0.12 1/80 11206\n")
    0.2
    """
    load = float(output.partition(" ")[0])
    if not 0 <= load < 100_000:
        raise ValueError(f"a load of {load}")
    return load


def parse_available(output: str) -> tuple[int, int]:
    r"""Return the memory that the kernel manages and what can be had of it without swapping, MiB.

    >>> parse_available("MemTotal:        2097152 kB\nMemAvailable:    1048576 kB\n")
    (2048, 1024)
    """
    found = dict(re.findall(r"^(\w+): +([0-9]+) kB$", output, re.MULTILINE))
    return int(found["MemTotal"]) // 1024, int(found["MemAvailable"]) // 1024


def parse_room(output: str) -> tuple[int, int]:
    r"""Return the size of a file system and what is free for everybody, MiB.

    >>> parse_room(" 1B-blocks     Avail\n1073741824 536870912\n")
    (1024, 512)
    """
    size, free = output.partition("\n")[2].split()
    return int(size) // _MIB, int(free) // _MIB


def parse_power(output: str) -> bool:
    r"""Return whether the computer runs on its battery.

    A mouse's battery (its scope is the device) is none of the computer's; one that charges hangs on the mains, whatever
    the mains' own line says.

    Source: Linux, Documentation/ABI/testing/sysfs-class-power.

    >>> parse_power("/sys/class/power_supply/BAT0/type:Battery\n/sys/class/power_supply/BAT0/status:Discharging\n")
    True
    """
    supplies: dict[str, dict[str, str]] = {}
    for line in output.splitlines():
        path, separator, value = line.rpartition(":")  # a supply's name may have one, too
        if separator:
            _, name, key = path.rsplit("/", 2)
            supplies.setdefault(name, {})[key] = value.strip()
    own = [supply for supply in supplies.values() if supply.get("scope") != "Device"]
    mains = any(supply.get("online") == "1" for supply in own if supply.get("type") != "Battery")
    return not mains and any(supply.get("status") == "Discharging" for supply in own)


def parse_kernels(output: str) -> tuple[str, ...]:
    r"""Return the kernels that lie on the computer, by their paths, the newest name last.

    >>> parse_kernels("/boot/vmlinuz-6.1.0-9\n/boot/vmlinuz-6.1.0-18\n/boot/vmlinuz-6.1.0-18.old\n/boot/config\n")
    ('/boot/vmlinuz-6.1.0-9', '/boot/vmlinuz-6.1.0-18')
    """
    paths = [line for line in output.splitlines() if re.search(r"/vmlinuz[^/]*$", line) and not line.endswith(".old")]
    return tuple(sorted(paths, key=lambda path: [int(word) for word in re.findall(r"\d+", path)]))


def parse_versions(output: str) -> tuple[str, str]:
    r"""Return libvirt's version, and QEMU's.

    >>> parse_versions("Using library: libvirt 9.0.0\nUsing API: QEMU 9.0.0\nRunning hypervisor: QEMU 7.2.22\n")
    ('9.0.0', '7.2.22')
    """
    library = re.search(r"^Using library: libvirt ([\w.+~-]+)", output, re.MULTILINE)
    running = re.search(r"^Running hypervisor: QEMU ([\w.+~-]+)", output, re.MULTILINE)
    if library is None or running is None:
        raise ValueError("no version of libvirt and QEMU")
    return library[1], running[1]


def parse_guests(output: str) -> tuple[Guest, ...]:
    """Return the virtual machines of a host.

    Args:
        output: of ``virsh domstats``: a block a domain, memory in KiB, disks in bytes.
    """
    blocks = re.split(r"^Domain: ", output, flags=re.MULTILINE)[1:]
    return tuple(_guest(block) for block in blocks)


def _guest(block: str) -> Guest:
    name, _, rest = block.partition("\n")
    values = dict(re.findall(r"^ +([\w.]+)=(.*)$", rest, re.MULTILINE))

    def number(key: str, unit: int = 1) -> int:
        text = values.get(key, "")
        return int(text) // unit if text.isdigit() else 0

    disks = tuple(
        Disk(
            path=values[f"block.{index}.path"],
            capacity_mib=number(f"block.{index}.capacity", _MIB),
            used_mib=max(number(f"block.{index}.physical", _MIB), number(f"block.{index}.allocation", _MIB)),
        )
        for index in range(number("block.count"))
        if values.get(f"block.{index}.path")
    )
    running = number("state.state") in _RUNNING
    return Guest(
        name=name.strip().strip("'"),
        running=running,
        vcpus=number("vcpu.current") or number("vcpu.maximum"),
        memory_mib=number("balloon.maximum", 1024),
        resident_mib=number("balloon.rss", 1024) if running else 0,
        disks=disks,
    )


_COPIED = re.compile(r"^(write|read) ([0-9]+) bytes ([0-9]+) ns$", re.MULTILINE)


def parse_disk_speed(output: str) -> DiskSpeed:
    r"""Return what a disk did, out of what ``host_disk.sh`` prints.

    >>> parse_disk_speed("write 67108864 bytes 500000000 ns\nread 67108864 bytes 250000000 ns\n")
    DiskSpeed(write=128.0, read=256.0)
    """
    copied = ((what, int(size), int(spent)) for what, size, spent in _COPIED.findall(output))
    speeds = {what: size / _MIB / (spent / 1e9) for what, size, spent in copied if spent}
    if not speeds.get("write"):
        raise ValueError("nothing was written")
    return DiskSpeed(write=speeds["write"], read=speeds.get("read") or None)


def parse_started(output: str) -> float | None:
    r"""Return the seconds until a guest's kernel had started, None where it did not within the limit.

    >>> parse_started("started 532000000 ns\n"), parse_started("not started\n")
    (0.532, None)
    """
    if output == "not started\n":
        return None
    match = re.fullmatch(r"started ([0-9]+) ns\n", output)
    if match is None:
        raise ValueError("no answer about the guest")
    return int(match[1]) / 1e9


def parse_links(output: str) -> dict[str, float | None]:
    r"""Return the round trip to each host by its name, ms; None where it does not answer.

    >>> parse_links("desk 800000 ns\nrack no answer\n")
    {'desk': 0.8, 'rack': None}
    """
    found: dict[str, float | None] = {}
    for line in output.splitlines():
        name, value, *rest = line.split()
        found[name] = int(value) / 1e6 if rest == ["ns"] else None
    return found


def parse_taken(output: str) -> float:
    """Return what got through, in MiB a second.

    >>> parse_taken("took 16777216 bytes 160000000 ns")
    100.0
    """
    match = re.fullmatch(r"took ([0-9]{1,18}) bytes ([0-9]{1,18}) ns", output.strip())
    if match is None or not int(match[2]):
        raise ValueError("nothing got through")
    return int(match[1]) / _MIB / (int(match[2]) / 1e9)


LOAD = Fact(name="load", argv=("cat", "/proc/loadavg"), parse=parse_load)
MEMORY = Fact(name="memory", argv=("cat", "/proc/meminfo"), parse=parse_available)
POWER = Fact(
    name="power",
    argv=(
        *("find", "-L", "/sys/class/power_supply", "-mindepth", "2", "-maxdepth", "2"),
        *("(", "-name", "type", "-o", "-name", "online", "-o", "-name", "status", "-o", "-name", "scope", ")"),
        *("-exec", "grep", "--with-filename", "--no-messages", "", "{}", "+"),
    ),
    parse=parse_power,
    codes=(0, 1),
)
KERNELS = Fact(
    name="kernels", argv=("find", "/boot", "-maxdepth", "1", "-name", "vmlinuz*"), parse=parse_kernels, codes=(0, 1)
)
KVM = Fact(name="/dev/kvm", argv=("ls", "/dev/kvm"), parse=lambda output: output == "/dev/kvm\n", codes=(0, 1, 2))
VERSIONS = Fact(name="libvirt", argv=("virsh", "--connect", LIBVIRT_URI, "version"), parse=parse_versions, user=ROOT)
GUESTS = Fact(
    name="guests",
    argv=("virsh", "--connect", LIBVIRT_URI, "domstats", "--state", "--balloon", "--vcpu", "--block"),
    parse=parse_guests,
    user=ROOT,
)


def filesystem(directory: str) -> Fact[tuple[int, int]]:
    """Return the question for the room where a directory lies."""
    argv = ("df", "--block-size=1", "--output=size,avail", "--", directory)
    return Fact(name=f"room of {directory}", argv=argv, parse=parse_room)
