"""The fence as a resource: its claim, what happens when somebody takes it down, and libvirt's hooks."""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from model.errors import UnderstudyError
from provisioners.hypervisor import fence
from provisioners.hypervisor.fence import Fence


def quiet(_: str) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Directories in place of the host's, and names that nobody else has. The rules go into the real kernel."""

    fences: Path
    hooks: Path
    inputs: dict[str, Any]

    @property
    def table(self) -> str:
        return str(self.inputs["mirror_bridge"][:-1])

    def hook(self, name: str, operation: str, xml: str) -> subprocess.CompletedProcess[str]:
        """Call the hook as libvirt does."""
        return subprocess.run(
            [self.hooks / name / "understudy-fence", "stage-a", operation, "begin", "-"],
            input=xml,
            text=True,
            capture_output=True,
            env={**os.environ, "UNDERSTUDY_FENCES": str(self.fences)},
            check=False,
        )


def flush(table: str) -> None:
    for family in ("bridge", "inet"):
        subprocess.run(["nft", "delete", "table", family, table], check=False, capture_output=True)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setattr(fence, "FENCES", tmp_path / "fences")
    monkeypatch.setattr(fence, "HOOKS", tmp_path / "hooks")
    table = f"us{uuid.uuid4().hex[:6]}"
    inputs = {
        "stack": "stage",
        "owner": "understudy/stage/a2ad7316",
        "mirror_bridge": f"{table}m",
        "control_bridge": f"{table}c",
        "control_network": "198.18.250.0/24",
    }
    yield Place(fences=tmp_path / "fences", hooks=tmp_path / "hooks", inputs=inputs)
    flush(table)


def test_it_stands_and_goes_without_a_trace(place: Place) -> None:
    assert Fence().check(place.inputs) == ()
    identifier, outputs = Fence().create(place.inputs, quiet)
    again = Fence().create(place.inputs, quiet)
    assert again == (identifier, outputs)
    real = Fence().read(identifier, place.inputs, outputs, quiet)
    assert real is not None
    assert real.inputs == place.inputs
    assert fence.listing(place.table)
    Fence().delete(identifier, place.inputs, outputs, quiet)
    Fence().delete(identifier, place.inputs, outputs, quiet)
    assert fence.listing(place.table) == ""
    left = [path for path in (*place.fences.rglob("*"), *place.hooks.rglob("*")) if path.name != ".lock"]
    assert left == []


@pytest.mark.parametrize(
    "damage",
    [
        "delete table bridge {table}",
        "delete table inet {table}",
        "flush chain bridge {table} from_guests",
        "insert rule bridge {table} input accept",
    ],
)
def test_what_somebody_changed_by_hand_is_seen_and_mended(place: Place, damage: str) -> None:
    identifier, outputs = Fence().create(place.inputs, quiet)
    subprocess.run(["nft", damage.format(table=place.table)], check=True)
    real = Fence().read(identifier, place.inputs, outputs, quiet)
    assert real is not None
    assert real.inputs["in_place"] is False
    mended = Fence().update(identifier, real.inputs, place.inputs, outputs, quiet)
    assert mended == outputs


def test_the_claim_keeps_another_state_out(place: Place) -> None:
    Fence().create(place.inputs, quiet)
    other = {**place.inputs, "owner": "understudy/stage/00000000"}
    with pytest.raises(UnderstudyError, match="belong to another state"):
        Fence().create(other, quiet)
    fence.remove("stage", other["owner"], quiet)
    assert fence.listing(place.table)


def test_a_fence_that_was_flushed_is_back_before_a_machine_is_told_who_it_is(place: Place) -> None:
    _, outputs = Fence().create(place.inputs, quiet)
    flush(place.table)
    fence.assure(place.table)
    assert fence.listing(place.table) == outputs["listing"]
    (place.fences / f"{place.table}.nft").unlink()
    flush(place.table)
    with pytest.raises(UnderstudyError, match="is gone"):
        fence.assure(place.table)


@pytest.mark.parametrize(("directory", "operation"), [("network.d", "start"), ("qemu.d", "prepare")])
def test_libvirt_starts_nothing_of_a_stack_without_its_fence(place: Place, directory: str, operation: str) -> None:
    _, outputs = Fence().create(place.inputs, quiet)
    xml = f"<domain><devices><interface><target dev='{place.table}c123456'/></interface></devices></domain>"
    flush(place.table)
    started = place.hook(directory, operation, xml)
    assert (started.returncode, started.stdout) == (0, "")
    assert fence.listing(place.table) == outputs["listing"]
    flush(place.table)
    (place.fences / f"{place.table}.nft").write_text("table bridge {")
    refused = place.hook(directory, operation, xml)
    assert refused.returncode == 1
    assert "does not start" in refused.stderr
    assert place.hook(directory, operation, xml.replace(place.table, "vnet")).returncode == 0
    assert place.hook(directory, "stopped", xml).returncode == 0


@pytest.mark.parametrize(
    "change",
    [
        {"mirror_bridge": 'us" accept'},
        {"control_bridge": "virbr0"},
        {"control_network": "198.18.250.1/24"},
        {"control_network": "everything"},
        {"stack": ""},
    ],
)
def test_what_is_no_bridge_and_no_network_is_refused_before_anything_happens(
    place: Place, change: dict[str, Any]
) -> None:
    assert [failure.property for failure in Fence().check({**place.inputs, **change})] == list(change)
