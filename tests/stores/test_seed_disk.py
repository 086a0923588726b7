"""A backup as a disk: whatever files it has, whoever is killed; where there can be none, it is sent."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from provisioners.hypervisor import seeds as seeds_room
from provisioners.shell import close_all, connect
from provisioners.stores import seed_disk, transfer
from provisioners.stores.seed_disk import NoDisk, image_of
from provisioners.stores.storage import Directory, Tree
from tests.hypervisor import conftest
from tests.hypervisor.conftest import FakeVirsh
from tests.stores.machines import Said, StoreMachine

virsh = conftest.virsh


def quiet(_: str) -> None:
    """Show nothing."""


@pytest.fixture(autouse=True)
def seeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(seeds_room, "SEEDS", tmp_path / "seeds")
    return tmp_path / "seeds"


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """Many small files, each in a directory of its own, which is what fills a file system first."""
    root = tmp_path_factory.mktemp("backup")
    for at in range(2000):
        path = root / f"{at}" / "with a name"
        path.parent.mkdir(parents=True)
        path.write_text(f"{at}")
    last = root / "1999" / "with a name"
    last.chmod(0o640)
    os.utime(last, (1_500_000_000, 1_500_000_000))
    (root / "latest").symlink_to("1999")
    directory = Directory(root, keep_links=True)
    return directory.tree(directory.entries(), quiet)


def test_everything_is_on_it_as_it_was(tree: Tree, tmp_path: Path, seeds: Path) -> None:
    with image_of(tree, "stage-app1", quiet) as image:
        (tmp_path / "out").mkdir()
        asked = f"rdump / {tmp_path}/out"
        subprocess.run(["debugfs", "-R", asked, str(image)], check=True, capture_output=True)
    assert list(seeds.iterdir()) == []
    assert {name: (tmp_path / "out" / name).read_text() for name in tree.names} == {
        name: name.partition("/")[0] for name in tree.names
    }
    assert len(tree.names) == 2000
    status = (tmp_path / "out/1999/with a name").stat()
    assert (status.st_mode & 0o777, int(status.st_mtime)) == (0o640, 1_500_000_000)
    assert (tmp_path / "out/latest").readlink() == Path("1999")


def test_files_on_another_file_system_keep_modes_and_times(tree: Tree, tmp_path: Path) -> None:
    """There is no second name for them in the staging directory: they are copied."""
    with image_of(Tree(root=Path("/proc/self"), names=("limits",), size_bytes=0), "stage-app1", quiet) as image:
        found = subprocess.run(
            ["debugfs", "-R", "stat /limits", str(image)], check=True, capture_output=True, text=True
        )
    assert "Mode:  0444" in found.stdout


def test_what_killed_runs_left_goes_and_what_is_in_use_stays(tree: Tree, seeds: Path, virsh: FakeVirsh) -> None:
    (seeds / "killed").mkdir(parents=True)
    (seeds / "killed" / "seed.img").write_bytes(b"image")
    (seeds / "older.img").write_bytes(b"image")
    small = Tree(root=tree.root, names=tree.names[:1], size_bytes=1)
    with image_of(small, "stage-app1", quiet) as one, image_of(small, "stage-db1", quiet) as other:
        seed_disk.detach("stage-app1", "qemu:///system")
        assert one.exists()
        assert set(seeds.iterdir()) == {one.parent, other.parent}
    assert list(seeds.iterdir()) == []


@pytest.fixture
def full(seeds: Path) -> Iterator[None]:
    seeds.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(seeds)], check=True)
    yield
    subprocess.run(["umount", str(seeds)], check=True)


def test_no_room_for_a_disk(full: None, tree: Tree, seeds: Path) -> None:
    with pytest.raises(NoDisk, match=r"[01] MiB are free; wanted"), image_of(tree, "stage-app1", quiet):
        raise AssertionError
    assert list(seeds.iterdir()) == []


def test_where_it_cannot_be_attached_it_is_sent(
    tree: Tree,
    virsh: FakeVirsh,
    monkeypatch: pytest.MonkeyPatch,
    seeds: Path,
) -> None:
    monkeypatch.setattr(transfer, "_DISK_FROM_BYTES", 0)
    monkeypatch.setattr(seed_disk, "can_attach", lambda: True)
    virsh.answer({"domblklist stage-app1": " Target   Source\n---\n vda      /a.qcow2"})
    said = Said()
    with StoreMachine("app1") as machine:
        machine.shell("mkdir", "/srv/brought")
        with connect(machine.connection, machine.private_key, print, 10) as shell:
            transfer.Way(domain="stage-app1").bring(shell, tree, "/srv/brought", said, exact=True)
        assert machine.shell("cat", "/srv/brought/7/with a name", "/srv/brought/latest/with a name") == "71999"
    close_all()
    assert any("cannot be attached as a disk" in line and line.endswith("; sending it") for line in said.lines)
    assert [asked.split()[0] for asked in virsh.asked()] == ["domblklist", "attach-disk", "domblklist"]
    assert list(seeds.iterdir()) == []
