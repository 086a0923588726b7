"""The restore of a store, against `pgbackrest restore` typed by hand on the same machine from the same repository."""

from __future__ import annotations

import json
import shutil
import statistics
import tempfile
import time
from pathlib import Path, PurePosixPath
from typing import Any

from bench.figures import Figure, Say
from bench.room import room
from bench.site import Site
from model.topology import Backup
from model.way_in import way_in
from provisioners.shell import connect
from provisioners.stores.repository import open_repository
from provisioners.stores.sample import Here, grow, short_lived_server
from provisioners.stores.transfer import Way

MEBIBYTES = 4000
"""So much that a restore by hand takes about a minute on a machine without hardware virtualisation."""
_BACKUP = {"kind": "pgbackrest", "path": "samples/large", "stanza": "shop"}


def restores(say: Say, runs: int = 2, mebibytes: int = MEBIBYTES) -> tuple[Figure, ...]:
    """Measure both in turn, on one machine of the stage; medians."""
    with room(say) as directory:
        site = Site(directory)
        say(f"making a repository of {mebibytes} MiB")
        make_repository(site.directory / _BACKUP["path"], mebibytes)
        _one_machine(site)
        ours, by_hand = [], []
        for turn in range(runs):
            say(f"the restore: turn {turn + 1} of {runs}")
            if turn == 0:
                site.pulumi("up", site.stage)
            else:
                site.run("understudy", "drill", "-s", site.stage)
            ours.append(_seconds(site))
            by_hand.append(_typed(site))
    figure = Figure(
        name=f"the restore of {mebibytes} MiB, with bringing the backup to the machine",
        ours=statistics.median(ours),
        against="`pgbackrest restore` by hand",
        by_hand=statistics.median(by_hand),
        goal=1.1,
    )
    return (figure,)


def make_repository(target: Path, mebibytes: int) -> None:
    """Make a pgBackRest repository of a database with so much data; needs root, PostgreSQL and pgBackRest."""
    place, door = Path(tempfile.mkdtemp(prefix="us-")), Here()
    try:
        shutil.chown(place, "postgres", "postgres")
        with short_lived_server(door, PurePosixPath(place), "15", "shop", "shop", "shop") as server:
            grow(door, server, mebibytes)
            door.run(server.pgbackrest("stanza-create"))
            door.run(server.pgbackrest("--type=full", "--start-fast", "--repo1-bundle", "--process-max=2", "backup"))
        shutil.copytree(place / "repository", target, symlinks=True)  # nothing is archived any more
    finally:
        shutil.rmtree(place)


def _one_machine(site: Site) -> None:
    machine = {"address": "10.20.0.31", "vcpus": 2, "memory": "1GiB", "data_disk": "12GiB"}
    store = {"engine": "postgresql", "version": 15, "database": "shop", "owner": "shop", "primary": "db1"}
    stores = {"shop": {**store, "expected_tables": ["ballast_0"], "backup": _BACKUP}}
    site.configure(site.prod, machines={"db1": machine}, services={}, stores=stores, pages={})


def _state(site: Site) -> dict[str, Any]:
    text = site.run("pulumi", "stack", "export", "-s", site.stage, "--show-secrets", "--non-interactive")
    state: dict[str, Any] = json.loads(text[text.index("{") :])
    return state


def _seconds(site: Site) -> float:
    """Return how long the last restore took: bringing the backup, and pgBackRest with its WAL."""
    resources = _state(site)["deployment"]["resources"]
    outputs = next(each["outputs"] for each in resources if each["type"].endswith(":PostgresPrimary"))
    return float(outputs["timings"]["bring"] + outputs["timings"]["restore"])


def _typed(site: Site) -> float:
    """Return how long it takes by hand, with the repository on the machine already."""
    connection, key = way_in(_state(site), site.stage, "db1")
    backup = Backup(kind="pgbackrest", location=_BACKUP["path"], stanza="shop")
    repository = open_repository(backup, site.directory)
    tree = repository.fetch(repository.newest().label, lambda _: None)
    way, place = Way(domain=f"{site.stage}-db1"), "/srv/by-hand"
    where = (f"--repo1-path={place}/repository", f"--pg1-path={place}/data", "--log-level-file=off")
    with connect(connection, key, lambda _: None) as shell:
        shell.run(("install", "--directory", "--owner=postgres", f"{place}/data"))
        shell.run(("mkdir", "-p", f"{place}/repository"))
        way.bring(shell, tree, f"{place}/repository", lambda _: None)
        began = time.monotonic()
        shell.run(("pgbackrest", "--stanza=shop", *where, "--process-max=2", "restore"), timeout_seconds=3600)
        taken = time.monotonic() - began
        way.take_away(shell, f"{place}/repository")
        shell.run(("rm", "-rf", place))
    return taken
