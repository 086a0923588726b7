"""Where packages come from: the Debian sources that this computer uses already. Pure, but for ``read_sources``."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

PASSED_ON = re.compile(r'Acquire::(?:(?:http|https|ftp)::Proxy|Check-Valid-Until|Check-Date|Retries)[^"]* "[^"]*";')
"""apt's options of this computer that the build must share to reach the same sources."""


def read_sources(suite: str, apt: Path = Path("/etc/apt")) -> str:
    """Return this computer's sources of the suite, in deb822 or one-line form; empty where it has none of it."""
    directory = apt / "sources.list.d"
    lists = (apt / "sources.list", *sorted(directory.glob("*.list")))
    stanzas = [suite_stanzas(_text(path), suite) for path in sorted(directory.glob("*.sources"))]
    found = "\n".join(filter(None, stanzas))
    return found or "".join(suite_lines(_text(path), suite) for path in lists)


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def suite_lines(text: str, suite: str) -> str:
    """Return the lines of a one-line sources file that name the suite, its updates or its security.

    >>> suite_lines("deb http://a/debian bookworm main contrib\\ndeb http://b/ jammy main\\n", "bookworm")
    'deb http://a/debian bookworm main\\n'
    """
    pattern = re.compile(r"deb\s+(\[[^]]*\]\s+)?(\S+)\s+(\S+)\s+(.*)")
    matches = [match for line in text.splitlines() if (match := pattern.match(line.strip()))]
    return "".join(
        f"deb {match[1] or ''}{match[2]} {match[3]} main\n"
        for match in matches
        if match[3] in _suites(suite) and "main" in match[4].split()
    )


def suite_stanzas(text: str, suite: str) -> str:
    """Return the stanzas of a deb822 sources file that name the suite, with no other suites and components.

    >>> stanza = "Types: deb deb-src\\nURIs: http://a/\\nSuites: bookworm sid\\nComponents: main\\n"
    >>> print(suite_stanzas(stanza, "bookworm"))
    Types: deb
    URIs: http://a/
    Suites: bookworm
    Components: main
    <BLANKLINE>
    """
    kept = [_stanza(stanza, suite) for stanza in re.split(r"\n\s*\n", _without_comments(text))]
    return "\n".join(filter(None, kept))


def _without_comments(text: str) -> str:
    return "".join(f"{line}\n" for line in text.splitlines() if not line.startswith("#"))


def _stanza(text: str, suite: str) -> str:
    fields = dict(re.findall(r"^([A-Za-z-]+):[ \t]*(.*(?:\n[ \t].*)*)", text, re.MULTILINE))
    suites = [name for name in fields.get("Suites", "").split() if name in _suites(suite)]
    usable = "deb" in fields.get("Types", "").split() and "main" in fields.get("Components", "").split()
    if not suites or not usable or fields.get("Enabled", "yes") == "no":
        return ""
    fields |= {"Types": "deb", "Suites": " ".join(suites), "Components": "main"}
    return "".join(f"{key}: {value}\n" for key, value in fields.items())


def _suites(suite: str) -> frozenset[str]:
    return frozenset({suite, f"{suite}-updates", f"{suite}-security"})


def apt_options() -> tuple[str, ...]:
    """Return apt's options of this computer that the build shares: a proxy, and whether dates are checked."""
    dump = subprocess.run(("apt-config", "dump"), capture_output=True, text=True, check=False).stdout
    return passed_on(dump.splitlines())


def passed_on(dump: Iterable[str]) -> tuple[str, ...]:
    """Return the lines of ``apt-config dump`` that are passed on.

    >>> passed_on(['APT "";', 'Acquire::http::Proxy "http://proxy:3128/";', 'Acquire::Languages "none";'])
    ('Acquire::http::Proxy "http://proxy:3128/"',)
    """
    return tuple(line.strip().rstrip(";") for line in dump if PASSED_ON.fullmatch(line.strip()))
