"""A whole rehearsal of one change on one machine: where its time goes."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

from bench.figures import Figure, Say
from bench.room import room
from bench.site import Site


def rehearsal(say: Say) -> tuple[Figure, ...]:
    """Rehearse a change of HAProxy's configuration, and return the whole and its parts as the record has them."""
    with room(say) as directory:
        site = _site(directory)
        say("building the stage")
        site.pulumi("up", site.stage)
        path = site.directory / "services/haproxy/service.yaml"
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace("connections: 200", "connections: 321"), encoding="utf-8")
        say("rehearsing")
        began = time.monotonic()
        site.run("understudy", "change", "rehearse", "-s", site.stage)
        whole = time.monotonic() - began
        records = (site.directory / f"evidence/{site.stage}.jsonl").read_text(encoding="utf-8").splitlines()
    return (Figure(name="a rehearsal on one machine, whole", ours=whole), *parts(records[-1], whole))


def parts(record: str, whole: float) -> tuple[Figure, ...]:
    """Return a rehearsal's parts from its record; what is in none of them is the last one.

    Raises:
        ValueError: it was not green: then its times say nothing.

    >>> [f"{each.name} {each.ours:.1f}" for each in parts(
    ...     '{"body": {"green": true, "steps": [{"name": "back out", "seconds": 1.5}]}}', 4.0)]
    ['– back out 1.5', '– the plan, the mirror, the signature 2.5']
    """
    body = json.loads(record)["body"]
    if not body["green"]:
        raise ValueError(f"the rehearsal was not green: {body}")
    steps = [Figure(name=f"– {step['name']}", ours=step["seconds"]) for step in body["steps"]]
    rest = whole - sum(step.ours for step in steps)
    return (*steps, Figure(name="– the plan, the mirror, the signature", ours=rest))


def _site(directory: Path) -> Site:
    """Make a site of one machine, and an operator who may sign what is rehearsed there."""
    site, home = Site(directory), directory / ".home"
    machines = {"lb": site.configuration(site.prod)["machines"]["lb"]}
    site.configure(site.prod, machines=machines, services={"haproxy": ["lb"]}, stores={}, pages={})
    allow_own_key(site, home)
    return site


def allow_own_key(site: Site, home: Path) -> None:
    """Give the operator a home with an SSH key that may sign evidence."""
    site.environment.setdefault("XDG_CACHE_HOME", f"{os.environ['HOME']}/.cache")
    site.environment["HOME"] = str(home)
    (home / ".ssh").mkdir(mode=0o700, parents=True)
    key = home / ".ssh" / "id_ed25519"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    (site.directory / "evidence").mkdir(exist_ok=True)
    public = " ".join(key.with_suffix(".pub").read_text(encoding="utf-8").split()[:2])
    line = f'operator@shop.example namespaces="understudy-evidence" {public}\n'
    (site.directory / "evidence" / "allowed_signers").write_text(line, encoding="utf-8")
