"""The sample company's stage and prod, as sites."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest
import yaml

from components.site import Site, read_site
from model import placement
from model.placement import Accelerator, PinnedSeed, PlacedHost, PlacedMachine, Placement
from tests.components.doubles import ROOT

MakeSite = Callable[..., Site]
CONTROL = IPv4Network("198.18.7.0/24")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a directory with the sample company's files, and a lock file for each stack."""
    return _described(tmp_path)


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return such a directory for what is built once for all tests of a file."""
    return _described(tmp_path_factory.mktemp("untouched"))


def _described(directory: Path) -> Path:
    for name in ("Pulumi.prod.yaml", "Pulumi.stage.yaml"):
        shutil.copy(ROOT / name, directory)
    for folder in ("services", "prices"):
        shutil.copytree(ROOT / folder, directory / folder)
    for stack in ("prod", "stage"):
        place(directory, stack)
    return directory


@pytest.fixture
def make_site(project: Path) -> MakeSite:
    """Return what reads a stack of the project, after edits of its files: old text to new, by the file's name."""
    return site_maker(project)


def site_maker(project: Path) -> MakeSite:
    """Return the same for a project's directory."""

    def make(stack: str, edits: Mapping[str, Mapping[str, str]] | None = None) -> Site:
        for name, changes in (edits or {}).items():
            text = (project / name).read_text()
            for old, new in changes.items():
                assert old in text, f"{name} has no {old!r}"
                text = text.replace(old, new)
            (project / name).write_text(text)
        return read_site(project, stack, "file:///state", None)

    return make


def place(
    directory: Path,
    stack: str,
    machines: tuple[str, ...] = ("lb", "app1", "app2", "db1", "db2"),
    cloud: PlacedHost | None = None,
    size: str = "t3.small",
    here: tuple[str, ...] = (),
    elsewhere: Mapping[str, tuple[PlacedHost, str]] | None = None,
) -> None:
    """Write a stack's lock file; a mirror's store is pinned to a snapshot.

    Args:
        here: those that are not in the cloud.
        elsewhere: those that are in another one, with what is rented there.
    """
    at = {name: (cloud.name, size) for name in machines if cloud and name not in here}
    at |= {name: (host.name, rented) for name, (host, rented) in (elsewhere or {}).items()}
    others = {host.name: host for host in (cloud, *(host for host, _ in (elsewhere or {}).values())) if host}
    pinned = PinnedSeed(
        store="shop",
        snapshot="20261123-010000F",
        taken_at=datetime(2026, 11, 23, 1, tzinfo=UTC),
        repository_digest="ab" * 32,
    )
    values = placement.as_values(
        Placement(
            control_network=CONTROL,
            accelerator=Accelerator(kind="tcg", reason="no hardware virtualisation that works"),
            image="0123456789ab" + "0" * 52,
            machines=tuple(
                PlacedMachine(
                    name=name,
                    host=at.get(name, ("here", ""))[0],
                    control_address=CONTROL[10 + index],
                    instance_type=at.get(name, ("here", ""))[1],
                )
                for index, name in enumerate(machines)
            ),
            seeds=(pinned,) if stack == "stage" else (),
            hosts=tuple(others[name] for name in sorted(others)),
            address=IPv4Address("10.1.1.1") if here else None,
        )
    )
    (directory / placement.file_name(stack)).write_text(yaml.safe_dump(values, sort_keys=False))
