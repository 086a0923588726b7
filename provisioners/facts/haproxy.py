"""Which servers stand behind HAProxy. Lines with passwords are not read."""

from __future__ import annotations

import re

from model.facts import ProxyServer
from provisioners.facts.fact import ROOT, Fact

_PATTERN = r"^[[:space:]]*(global|defaults|frontend|backend|listen|server)([[:space:]]|$)"


def parse(output: str) -> tuple[ProxyServer, ...]:
    r"""Return the servers in the order of the file.

    >>> parse("backend app\n server app2 10.20.0.22:8000 check backup")[0].backup
    True

    Source: https://docs.haproxy.org/2.6/configuration.html#5 (``server <name> <address>[:[port]] [param*]``).
    """
    backend, found = "", []
    for line in output.splitlines():
        words = line.partition("#")[0].split()
        if not words:
            continue
        if words[0] in ("backend", "listen") and len(words) > 1:
            backend = words[1]
        elif words[0] != "server":
            backend = ""
        elif backend and len(words) > 2:
            server = _server(backend, words)
            found += [server] if server else []
    return tuple(found)


def _server(backend: str, words: list[str]) -> ProxyServer | None:
    if "disabled" in words or words[2].startswith(("/", "unix@", "abns@", "fd@")):
        return None
    address = re.sub(r"^(ipv4|ipv6)@", "", words[2])
    host, _, port = address.rpartition(":")
    if not host or (":" in host and not host.startswith("[") and not port.isdigit()):
        host, port = address, "0"
    return ProxyServer(
        backend=backend,
        name=words[1],
        host=host.strip("[]"),
        port=int(port) if port.isdigit() else 0,
        backup="backup" in words[3:],
    )


SERVERS = Fact(
    name="HAProxy",
    argv=(
        "grep",
        "--recursive",
        "--no-filename",
        "--no-messages",
        "--extended-regexp",
        "--include=*.cfg",
        "--regexp",
        _PATTERN,
        "/etc/haproxy",
    ),
    parse=parse,
    user=ROOT,
    codes=(0, 1, 2),
)
