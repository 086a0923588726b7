"""Where pgBackRest keeps which cluster's backups. Keys and passphrases in its files are not read."""

from __future__ import annotations

import re
from collections import defaultdict

from model.facts import Repository
from provisioners.facts.fact import ROOT, Fact

_PATTERN = (
    r"^[[:space:]]*(\[|pg[0-9]+-(path|host)[[:space:]]*=|"
    r"repo1-(path|type|host|s3-bucket|s3-endpoint|s3-region)[[:space:]]*=)"
)
_SECTION = re.compile(r"^\s*\[([^]]*)\]")


def parse(output: str) -> tuple[Repository, ...]:
    """Return the stanzas and where their first repository is.

    Args:
        output: the lines of pgBackRest's files that name sections, paths, hosts and buckets.

    Source: https://pgbackrest.org/configuration.html (``repo1-path`` is /var/lib/pgbackrest unless given).
    """
    sections: dict[str, dict[str, str]] = defaultdict(dict)
    section = "global"
    for line in output.splitlines():
        match = _SECTION.match(line)
        if match:
            section = match[1].partition(":")[0].strip()
            sections[section].update()
            continue
        key, separator, value = line.partition("=")
        if separator:
            sections[section].setdefault(key.strip(), value.strip())
    common = sections.pop("global", {})
    return tuple(_repository(name, {**common, **values}) for name, values in sections.items() if name)


def _repository(stanza: str, values: dict[str, str]) -> Repository:
    path = values.get("repo1-path", "/var/lib/pgbackrest")
    kind = {"": "path", "posix": "path", "cifs": "path"}.get(values.get("repo1-type", ""), values.get("repo1-type", ""))
    if kind == "s3":
        path = f"s3://{values.get('repo1-s3-bucket', '')}{path.rstrip('/')}"
    return Repository(
        stanza=stanza,
        kind=kind,
        location=path,
        host=values.get("repo1-host", ""),
        endpoint=values.get("repo1-s3-endpoint", ""),
        region=values.get("repo1-s3-region", ""),
        data_directories=tuple(value for key, value in sorted(values.items()) if re.fullmatch(r"pg\d+-path", key)),
    )


REPOSITORIES = Fact(
    name="pgBackRest",
    argv=(
        "grep",
        "--recursive",
        "--no-filename",
        "--no-messages",
        "--extended-regexp",
        "--include=*.conf",
        "--regexp",
        _PATTERN,
        "/etc/pgbackrest.conf",
        "/etc/pgbackrest",
    ),
    parse=parse,
    user=ROOT,
    codes=(0, 1, 2),
)
