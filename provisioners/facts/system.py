"""The machine's names, its distribution, and what systemd runs on it."""

from __future__ import annotations

import re
import shlex

from model.facts import Unit
from provisioners.facts.fact import Fact

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
