"""The packages that are installed, with their versions: of Debian and its kin, or of those that use RPM."""

from __future__ import annotations

from provisioners.facts.fact import Fact

_INSTALLED = ("ii", "hi")
"""Installed, and installed and held. Source: dpkg-query(1), ``db:Status-Abbrev``."""


def parse_dpkg(output: str) -> dict[str, str]:
    r"""Return versions by package; what was removed and left its configuration is no package.

    Raises:
        ValueError: a line is not ``status, name, version``.

    >>> parse_dpkg("ii \thaproxy\t2.6.12-1+deb12u1\nrc \told\t1.0\n")
    {'haproxy': '2.6.12-1+deb12u1'}
    """
    rows = [line.split("\t") for line in output.splitlines() if line]
    return {name: version for status, name, version in rows if status.strip() in _INSTALLED}


def parse_rpm(output: str) -> dict[str, str]:
    r"""Return versions by package; one that is there in several versions, as a kernel, has all of them.

    Raises:
        ValueError: a line is not ``name, version``.

    >>> parse_rpm("kernel\t5.14-2\nkernel\t5.14-1\n")
    {'kernel': '5.14-1, 5.14-2'}
    """
    found: dict[str, list[str]] = {}
    for line in output.splitlines():
        name, version = line.split("\t")
        found.setdefault(name, []).append(version)
    return {name: ", ".join(sorted(versions)) for name, versions in found.items()}


DPKG = Fact(
    name="packages",
    argv=("dpkg-query", "--show", r"--showformat=${db:Status-Abbrev}\t${binary:Package}\t${Version}\n"),
    parse=parse_dpkg,
)
RPM = Fact(
    name="packages",
    argv=("rpm", "--query", "--all", r"--queryformat=%{NAME}.%{ARCH}\t%{EPOCHNUM}:%{VERSION}-%{RELEASE}\n"),
    parse=parse_rpm,
)
