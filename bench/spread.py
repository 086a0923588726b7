"""How long `up` of the sample stage takes on two computers, against one."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Mapping
from pathlib import Path

import yaml

from bench.figures import Figure, Say
from bench.room import room
from bench.site import Site
from model.placed_hosts import PlacedHost, hosts_as_values
from model.placement import HERE, VERSION_WITH_HOSTS, file_name
from tests.doubles.computer import Computer

THERE = ("app2", "db2")
"""The machines that are on the other computer: a spare application server, and the replica."""


def spread(say: Say) -> tuple[Figure, ...]:
    """Build the sample stage here, then again with some of its machines on another computer.

    The other one is on this one, with an SSH server, a libvirt and a network of its own: so both have the same cores,
    and what is measured is what the way there, the second fence and the tunnels take. Images and templates lie ready.
    """
    with room(say) as directory, Computer("rack1") as computer:
        site = Site(directory)
        site.environment.setdefault("XDG_CACHE_HOME", f"{os.environ['HOME']}/.cache")
        site.environment["HOME"] = str(computer.home(directory / ".home"))
        say("everything that is made once")
        _up(site, THERE, computer)
        taken = {}
        for there in ((), THERE):
            say(f"the stage with {len(there)} machines elsewhere")
            taken[there] = _up(site, there, computer)
    return (
        Figure(
            name="five machines on two computers: whole `up`", ours=taken[THERE], against="on one", by_hand=taken[()]
        ),
    )


def _up(site: Site, there: Collection[str], computer: Computer) -> float:
    """Return how long it took to build the stage with these machines on the other computer; it is gone afterwards."""
    site.configure(site.stage, capacity="here")
    site.run("understudy", "place", "--again", "-s", site.stage)
    if there:
        site.configure(site.stage, capacity="hosts")
        hosts = {"here": {}, computer.name: {"host": computer.address}}
        (site.directory / "Capacity.yaml").write_text(yaml.safe_dump({"hosts": hosts}), encoding="utf-8")
        move(site, dict.fromkeys(there, computer.placed))
    began = time.monotonic()
    try:
        site.pulumi("up", site.stage)
        return time.monotonic() - began
    finally:
        site.pulumi("destroy", site.stage)


def move(site: Site, places: Mapping[str, PlacedHost], size: str = "") -> None:
    """Write into the stage's lock file that these machines are on other hosts, and the rest on this computer.

    Args:
        site: the site.
        places: where machines are, by their names.
        size: what is rented for each of them, in a cloud.
    """
    lock = Path(site.directory, file_name(site.stage))
    values = yaml.safe_load(lock.read_text(encoding="utf-8"))
    values |= {"version": VERSION_WITH_HOSTS, "hosts": hosts_as_values(tuple(dict.fromkeys(places.values())))}
    for name, machine in values["machines"].items():
        machine["host"] = places[name].name if name in places else HERE
        machine.pop("instance_type", None)
        if size and name in places:
            machine["instance_type"] = size
    lock.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
