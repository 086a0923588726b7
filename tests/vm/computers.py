"""A project whose stage is on this computer and others, which have SSH servers, libvirts and a network of their own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import yaml

from bench.site import Site
from bench.spread import move
from images.build import IMAGES
from tests.doubles.computer import Computer, Lan
from tests.vm.lab import image


@contextmanager
def computers(*names: str) -> Iterator[tuple[Computer, ...]]:
    """Give other computers; the image lies there. How it is sent: test_other_host.py."""
    with ExitStack() as on:
        lan = on.enter_context(Lan())
        every = tuple(on.enter_context(Computer(name, lan)) for name in names)
        for computer in every:
            there = Path(f"{computer.place}/disk/var/lib/understudy/images/{image()}")
            shutil.copytree(IMAGES / image(), there, copy_function=os.link)
        yield every


@pytest.fixture
def rack() -> Iterator[Computer]:
    """Give one."""
    with computers("rack1") as (computer,):
        yield computer


@contextmanager
def site_beside(racks: Sequence[Computer], directory: Path) -> Iterator[Site]:
    """Give a project that may use all of them; in the end its stage is gone from each, whatever happened."""
    site = Site(directory / "site")
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    site.environment |= {"HOME": str(racks[0].home(directory / "home")), "XDG_CACHE_HOME": cache}
    hosts: dict[str, dict[str, object]] = {"here": {"vcpus_per_core": 64}}  # other tests have machines on it
    for rack in racks:
        (site.directory / f"{rack.name}.hosts").write_text(f"{rack.address} {rack.host_key}\n")
        hosts[rack.name] = {"host": rack.address, "known_hosts": f"{rack.name}.hosts"}
    (site.directory / "Capacity.yaml").write_text(yaml.safe_dump({"hosts": hosts}))
    site.configure(site.stage, capacity="hosts", warm_start=False)
    try:
        yield site
    finally:
        for rack in racks:
            rack.plug_in()
        site.end(site.stage)


def place(site: Site, places: Mapping[str, Computer]) -> None:
    """Place the stage, and then these machines on other computers."""
    site.run("understudy", "place", "-s", site.stage)
    move(site, {name: computer.placed for name, computer in places.items()})
