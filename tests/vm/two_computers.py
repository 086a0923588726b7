"""A project whose stage is on this computer and on another one, which has its own SSH server, libvirt and network."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench.site import Site
from bench.spread import move
from images.build import IMAGES
from tests.doubles.computer import Computer
from tests.vm.lab import image

CAPACITY = """\
hosts:
  here: {{vcpus_per_core: 64}}  # other tests have machines on it
  rack1: {{host: {rack.address}, known_hosts: rack1.hosts}}
"""


@pytest.fixture
def rack() -> Iterator[Computer]:
    """Give the other computer; the image lies there. How it is sent: test_other_host.py."""
    with Computer("rack1") as computer:
        there = Path(f"{computer.place}/disk/var/lib/understudy/images/{image()}")
        shutil.copytree(IMAGES / image(), there, copy_function=os.link)
        yield computer


@contextmanager
def site_beside(rack: Computer, directory: Path) -> Iterator[Site]:
    """Give a project that may use both; in the end its stage is gone from both, whatever happened."""
    site = Site(directory / "site")
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    site.environment |= {"HOME": str(rack.home(directory / "home")), "XDG_CACHE_HOME": cache}
    (site.directory / "rack1.hosts").write_text(f"{rack.address} {rack.host_key}\n")
    (site.directory / "Capacity.yaml").write_text(CAPACITY.format(rack=rack))
    site.configure(site.stage, capacity="hosts", warm_start=False)
    try:
        yield site
    finally:
        rack.plug_in()
        site.end(site.stage)


def placed_there(site: Site, rack: Computer, there: Collection[str]) -> None:
    """Place the stage, and then these machines on the other computer."""
    site.run("understudy", "place", "-s", site.stage)
    move(site, there, rack.placed)
