"""The machine's names, its distribution, and what systemd runs on it."""

from __future__ import annotations

import re
import shlex

from model.facts import Unit
from provisioners.facts.fact import ROOT, Fact

_UNIT = re.compile(r"^[A-Za-z0-9:_.\\@-]+\.(?:service|timer)$")


def parse_name(output: str) -> str:
    """Return a host name as it is, without the end of the line.

    Raises:
        ValueError: there is none.
    """
    name = output.strip()
    if not name or name.startswith("(") or "\n" in name:
        raise ValueError("no host name")
    return name


def parse_release(output: str) -> str:
    r"""Return the distribution and its version.

    >>> parse_release('NAME="Debian GNU/Linux"\nVERSION_ID="12"\nID=debian\n')
    'debian 12'
    """
    values = {}
    for line in output.splitlines():
        key, separator, value = line.partition("=")
        if separator and not line.startswith("#"):
            try:
                values[key.strip()] = " ".join(shlex.split(value))
            except ValueError:
                continue
    return f"{values.get('ID', '')} {values.get('VERSION_ID', '')}".strip()


def parse_unit_names(output: str) -> tuple[str, ...]:
    """Return the units of ``systemctl list-units``; older versions put a mark before some."""
    names = []
    for line in output.splitlines():
        words = line.replace("●", " ").replace("*", " ").split()
        if words and _UNIT.match(words[0]):
            names.append(words[0])
    return tuple(dict.fromkeys(names))


def parse_units(output: str) -> tuple[Unit, ...]:
    """Return the units of ``systemctl show``: blocks of ``Key=value``, with an empty line between."""
    units = []
    for block in output.split("\n\n"):
        values = dict(line.partition("=")[::2] for line in block.splitlines())
        name = values.get("Id", "")
        if name:
            path = values.get("FragmentPath", "")
            by_hand = path.startswith(("/etc/systemd/system/", "/usr/local/lib/systemd/system/"))
            units.append(Unit(name=name, by_hand=by_hand, description=values.get("Description", "")))
    return tuple(units)


def parse_kernel(output: str) -> tuple[str, str]:
    r"""Return the kernel's release and the processor's architecture.

    Raises:
        ValueError: the output is not two words.

    >>> parse_kernel("6.1.0-18-cloud-amd64 x86_64\n")
    ('6.1.0-18-cloud-amd64', 'x86_64')
    """
    release, architecture = output.split()
    return release, architecture


def present(paths: tuple[str, ...]) -> Fact[tuple[str, ...]]:
    """Return the question which of these paths exist."""
    argv = ("ls", "-d", "--", *paths)
    return Fact(name="services' files", argv=argv, parse=lambda out: tuple(out.splitlines()), user=ROOT, codes=(0, 2))


# Whose login or connection it is, is no part of a configuration.
_MOMENTARY = re.compile(
    r"(user|user-runtime-dir|session|ssh|sshd|run-.*)@|(run|session)-|systemd-fsck(@|d\.)|init\.scope"
)


_ENABLED = re.compile(r"/(?:etc|run)/systemd/system/[^/]+\.(?:wants|requires)/([^/]+)")
_UNIT_FILE = re.compile(r"/.*/systemd/system/([^/]+)")
_OF_SYSV = re.compile(r"/etc/rc.\.d/S\d\d([^/]+)")


def parse_unit_links(output: str) -> dict[str, str]:
    r"""Return which units are ``enabled`` or ``masked``, by name; of others systemd has only what their packages say.

    Args:
        output: paths of links and services, and where links lead, each with a zero byte at its end. What System V
            starts counts where systemd has nothing of that name.

    >>> parse_unit_links("/etc/systemd/system/a.timer\0/dev/null\0/etc/rc2.d/S01rsync\0../init.d/rsync\0")
    {'rsync.service': 'enabled', 'a.timer': 'masked'}
    """
    records = output.split("\0")[:-1]
    targets = dict(zip(records[::2], records[1::2], strict=True))
    files = {path: file[1] for path in targets if (file := _UNIT_FILE.fullmatch(path))}
    enabled = {link[1] for path in targets if (link := _ENABLED.fullmatch(path))}
    of_sysv = {f"{link[1]}.service" for path in targets if (link := _OF_SYSV.fullmatch(path))}
    found = dict.fromkeys(sorted(enabled | of_sysv.difference(files.values())), "enabled")
    found |= {name: "masked" for path, name in files.items() if targets[path] == "/dev/null"}
    return {name: said for name, said in found.items() if name.endswith(_SUFFIXES) and not _MOMENTARY.match(name)}


def parse_running(output: str) -> dict[str, str]:
    """Return what each unit does that does anything: ``running``, ``listening``, ``waiting``, ``failed`` and so on.

    Args:
        output: of ``systemctl list-units``; what has done its work and ended is left out: it depends on the moment.
    """
    rows = (line.replace("●", " ").replace("*", " ").split() for line in output.splitlines())
    wanted = {"running", "listening", "waiting", "failed", "auto-restart"}
    return {row[0]: row[3] for row in rows if len(row) > 3 and row[3] in wanted and not _MOMENTARY.match(row[0])}


_TYPES = ("service", "socket", "timer", "path")
_SUFFIXES, _KINDS = tuple(f".{each}" for each in _TYPES), f"--type={','.join(_TYPES)}"
_PLAIN = ("--no-legend", "--no-pager", "--plain", "--full")
KERNEL = Fact(name="kernel", argv=("uname", "--kernel-release", "--machine"), parse=parse_kernel)
UNIT_LINKS = Fact(
    name="units",
    # `systemctl list-unit-files` looks through all directories for each unit: two thirds of a portrait's work.
    argv=(
        *("find", "-P", "/etc", *(f"{root}/systemd/system" for root in ("/etc", "/run", "/lib", "/usr/lib"))),
        *("-mindepth", "1", "-maxdepth", "2"),
        *("(", "-path", "/*/systemd/system/*", "(", "-type", "l", "-o", "-name", "*.service", ")"),
        *("-o", "-type", "l", "-path", "/etc/rc[2-5S].d/S*", ")", "-printf", r"%p\0%l\0"),
    ),
    parse=parse_unit_links,
    codes=(0, 1),
)
RUNNING = Fact(name="units", argv=("systemctl", "list-units", "--all", _KINDS, *_PLAIN), parse=parse_running)
HOSTNAME = Fact(name="host name", argv=("uname", "-n"), parse=parse_name)
FQDN = Fact(name="long host name", argv=("hostname", "--fqdn"), parse=parse_name)
RELEASE = Fact(name="distribution", argv=("cat", "/etc/os-release"), parse=parse_release)
UNIT_NAMES = Fact(
    name="services",
    argv=(
        "systemctl",
        "list-units",
        "--type=service,timer",
        "--state=running,waiting,exited,failed,auto-restart,elapsed",
        "--no-legend",
        "--no-pager",
        "--plain",
        "--full",
    ),
    parse=parse_unit_names,
)


def units(names: tuple[str, ...]) -> Fact[tuple[Unit, ...]]:
    """Return the question for more about these units."""
    shown = "--property=Id,FragmentPath,Description"
    return Fact(name="services", argv=("systemctl", "show", shown, "--", *names), parse=parse_units)
