"""`understudy place`: what is fixed stays, what is missing is added, and what cannot be is said."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest

from cli import place
from cli.__main__ import main
from cli.files import read_lock, write_lock
from images.cache import ImagePaths
from images.own import OwnImagePaths
from model.placement import Accelerator, OwnImage, PinnedSeed, Placement
from model.placing import Host
from model.snapshot import Snapshot, named, newest_good
from provisioners import this_computer

ROOT = Path(__file__).parents[2]
ROOMY = Host(memory_mib=128_000, free_memory_mib=120_000, disk_mib=4_000_000, free_disk_mib=3_000_000)


def pin(store: str, day: int) -> PinnedSeed:
    return PinnedSeed(
        store=store,
        snapshot=f"202611{day:02}-020000F",
        taken_at=datetime(2026, 11, day, 2, tzinfo=UTC),
        repository_digest=f"{day:02}" * 16,
    )


class Backups:
    """A repository with a snapshot for each of three days; the newest of all is not good."""

    where = "the backups"

    def __init__(self, newest: int) -> None:
        self.newest_day = newest
        self.passed_over: dict[str, str] = {}

    def snapshots(self) -> tuple[Snapshot, ...]:
        days = range(self.newest_day - 2, self.newest_day + 2)
        return tuple(
            Snapshot(
                label=pin("", day).snapshot,
                kind="full",
                taken_at=pin("", day).taken_at,
                size_bytes=1,
                fault="a page is damaged" if day > self.newest_day else "",
            )
            for day in days
        )

    def inspect(self, label: str) -> Snapshot:
        return named(self.snapshots(), label, self.where)

    def newest(self) -> Snapshot:
        *_, good, bad = self.snapshots()
        self.passed_over[bad.label] = bad.fault
        return good

    def digest(self, label: str) -> str:
        return label[6:8] * 16


IMAGE = ImagePaths(
    directory=Path("0123456789ab"),
    digest="0123456789ab",
    disk=Path("disk.qcow2"),
    kernel=Path("vmlinuz"),
    initrd=Path("initrd.img"),
)
DIGESTS = {"images/mine.qcow2": "aa" * 32, "https://images.example/mine": "bb" * 32}
"""What each path and address holds; a test may change it."""


def bring(source: str, directory: Path, most_mib: int, say: object) -> OwnImagePaths:
    assert (directory / "Pulumi.yaml").exists()
    assert most_mib == 4096
    return OwnImagePaths(digest=DIGESTS[source], disk=Path("disk.qcow2"), disk_mib=3000)


@pytest.fixture
def computer(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Stand in for the parts that look at this computer and at the repositories."""

    def set_up(*, room: Host = ROOMY, networks: tuple[tuple[str, IPv4Network], ...] = (), newest: int = 20) -> None:
        monkeypatch.setattr(this_computer, "room", lambda: room)
        monkeypatch.setattr(this_computer, "networks", lambda: networks)
        timed = Accelerator(kind="tcg", reason="a guest was timed")
        monkeypatch.setattr("provisioners.hypervisor.accelerator.choose", lambda kernel, say: timed)
        monkeypatch.setattr("images.build.ensure", lambda say: IMAGE)
        monkeypatch.setattr("images.own.bring", bring)
        monkeypatch.setitem(DIGESTS, "images/mine.qcow2", "aa" * 32)
        monkeypatch.setattr("provisioners.stores.repository.open_repository", lambda backup, where: Backups(newest))

    set_up()
    return set_up


def lock(project: Path, stack: str = "stage") -> Placement:
    placement = read_lock(project, stack)
    assert placement is not None
    return placement


def test_a_stack_is_placed(project: Path, computer: object, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["place", "-s", "stage", "-C", str(project)]) == 0
    placed = lock(project)
    assert [machine.name for machine in placed.machines] == ["app1", "db1", "db2", "lb", "old"]
    assert [str(machine.control_address).rpartition(".")[2] for machine in placed.machines] == [
        "10",
        "11",
        "12",
        "13",
        "14",
    ]
    assert placed.image == "0123456789ab"
    assert [seed.store for seed in placed.seeds] == ["news", "papers", "shop"]
    told, said = capsys.readouterr()
    assert "store shop: passed over 20261121-020000F: a page is damaged" in said
    assert "wrote Placement.stage.lock.yaml" in told
    assert "processors: tcg, since a guest was timed" in told
    assert "store shop: filled from 20261120-020000F of 2026-11-20 02:00:00 UTC" in told


def test_a_second_time_nothing_changes(project: Path, computer: Callable[..., None]) -> None:
    main(["place", "-s", "stage", "-C", str(project)])
    before = (project / "Placement.stage.lock.yaml").read_bytes()
    computer(newest=25)
    main(["place", "-s", "stage", "-C", str(project)])
    assert (project / "Placement.stage.lock.yaml").read_bytes() == before


def test_a_new_machine_is_added_and_the_others_stay(
    project: Path, computer: object, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["place", "-s", "stage", "-C", str(project)])
    before = lock(project)
    file = project / "Pulumi.prod.yaml"
    text = file.read_text().replace("    lb: {", "    aa: {address: 10.20.0.9, vcpus: 1, memory: 1GiB}\n    lb: {")
    file.write_text(text)
    capsys.readouterr()
    main(["place", "-s", "stage", "-C", str(project)])
    after = lock(project)
    assert set(before.machines) < set(after.machines)
    assert str(after.machine("aa").control_address).endswith(".15")
    assert replace(after, machines=before.machines) == before
    told = capsys.readouterr().out
    assert "aa: on this computer" in told
    assert "lb:" not in told


def test_a_machine_that_is_no_more_is_dropped(
    project: Path, computer: object, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["place", "-s", "stage", "-C", str(project)])
    file = project / "Pulumi.prod.yaml"
    text = file.read_text().replace("replicas: [db2]", "replicas: []")
    file.write_text("".join(line for line in text.splitlines(keepends=True) if "    db2: {" not in line))
    main(["place", "-s", "stage", "-C", str(project)])
    assert "db2" not in [machine.name for machine in lock(project).machines]
    assert "db2: no longer placed" in capsys.readouterr().out


def test_again_chooses_all_anew(
    project: Path, computer: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    main(["place", "-s", "stage", "-C", str(project)])
    before = lock(project)
    computer(networks=(("tun0", before.control_network),), newest=25)
    main(["place", "-s", "stage", "-C", str(project), "--again"])
    after = lock(project)
    assert after.control_network != before.control_network
    assert after.seed("shop") == pin("shop", 25)
    told = capsys.readouterr().out
    assert f"control network: {before.control_network} -> {after.control_network}" in told
    assert "store shop: 20261120-020000F of 2026-11-20 02:00:00 UTC -> 20261125-020000F" in told


def test_again_times_the_processors_of_this_computer(project: Path, computer: object) -> None:
    main(["place", "-s", "stage", "-C", str(project)])
    before = lock(project)
    elsewhere = Accelerator(kind="kvm", reason="another computer has it")
    write_lock(project, "stage", replace(before, accelerator=elsewhere))
    assert placed(project).accelerator == elsewhere
    assert placed(project, "--again") == before


def test_again_replaces_what_cannot_be_read(
    project: Path, computer: object, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "Placement.stage.lock.yaml").write_text("version: 3\n")
    assert main(["place", "-s", "stage", "-C", str(project), "--again"]) == 0
    assert "replaced: Placement.stage.lock.yaml: version: found 3" in capsys.readouterr().err
    assert lock(project).image == "0123456789ab"


def test_two_stacks_never_share_a_control_network(project: Path, computer: object) -> None:
    main(["place", "-s", "stage", "-C", str(project)])
    taken = lock(project).control_network
    prods = place._control_network(project, "prod")
    write_lock(project, "other", replace(lock(project), control_network=prods, machines=()))
    main(["place", "-s", "prod", "-C", str(project)])
    networks = {lock(project, stack).control_network for stack in ("stage", "other", "prod")}
    assert len(networks) == 3
    assert taken in networks


def test_too_little_room_is_said(
    project: Path, computer: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    computer(room=replace(ROOMY, free_memory_mib=10_000, free_disk_mib=10_000))
    assert main(["place", "-s", "stage", "-C", str(project)]) == 1
    told = capsys.readouterr().err
    assert "memory: " in told
    assert "10000 MiB are free" in told
    assert "disk: " in told
    assert not (project / "Placement.stage.lock.yaml").exists()


def made_here(stack: str, machines: Iterable[str], memory_mib: int) -> list[dict[str, Any]]:
    """Return what a state has of these machines: each has so much memory, and all the disk that it is to have."""
    domains = [f"{stack}-{name}" for name in machines]
    made = [{"type": "libvirt:index/domain:Domain", "inputs": {"name": each, "memory": memory_mib}} for each in domains]
    boots = [
        {"type": "understudy:index:Boot", "inputs": {"domain": each, "data_disk_mib": 1 << 20}} for each in domains
    ]
    return [*made, *boots]


def write_state(project: Path, memory_mib: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write a state with the five machines, of which each has so much memory."""
    monkeypatch.setenv("PULUMI_BACKEND_URL", f"file://{project}")
    resources = made_here("stage", ("app1", "db1", "db2", "lb", "old"), memory_mib)
    path = project / ".pulumi/stacks/understudy/stage.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"version": 3, "checkpoint": {"latest": {"resources": resources}}}))


def test_a_machine_that_was_placed_before_is_counted_by_what_it_has_not(
    project: Path, computer: Callable[..., None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["place", "-s", "stage", "-C", str(project)])
    computer(room=replace(ROOMY, free_memory_mib=20_000, free_disk_mib=10))
    write_state(project, 65536, monkeypatch)
    before = placed(project)
    assert placed(project, "--again") == before
    write_state(project, 1024, monkeypatch)
    assert main(["place", "-s", "stage", "-C", str(project)]) == 1
    told = capsys.readouterr().err
    assert (
        "this computer: too little room for stack stage; wanted memory: 64512 MiB for 1 machine and 12800 MiB" in told
    )
    assert "disk: " not in told
    assert lock(project) == before


def test_a_lock_file_alone_gives_no_room(
    project: Path, computer: Callable[..., None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It came with a clone, or outlived a `destroy`."""
    main(["place", "-s", "stage", "-C", str(project)])
    computer(room=replace(ROOMY, free_memory_mib=10_000))
    monkeypatch.setenv("PULUMI_BACKEND_URL", f"file://{project}")
    assert main(["place", "-s", "stage", "-C", str(project)]) == 1
    told = capsys.readouterr().err
    assert "counted as if none of its machines were there: " in told
    assert "for 5 machines" in told


def test_all_control_networks_in_use(
    project: Path, computer: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    computer(networks=(("tun0", IPv4Network("198.18.0.0/15")),))
    assert main(["place", "-s", "stage", "-C", str(project)]) == 1
    assert "all of 198.18.0.0/15 is in use" in capsys.readouterr().err


def test_a_store_without_a_good_snapshot(
    project: Path, computer: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Backups, "newest", lambda self: newest_good((), self.where))
    assert main(["place", "-s", "stage", "-C", str(project)]) == 1
    assert "the backups: the backup is empty" in capsys.readouterr().err
    assert not (project / "Placement.stage.lock.yaml").exists()


def test_faults_of_the_files_come_first(project: Path, computer: object, capsys: pytest.CaptureFixture[str]) -> None:
    file = project / "Pulumi.prod.yaml"
    file.write_text(file.read_text().replace("memory: 1GiB", "memory: 1").replace("vcpus: 8", "vcpus: 0"))
    assert main(["place", "-s", "stage", "-C", str(project)]) == 1
    told = capsys.readouterr().err
    assert "Pulumi.prod.yaml: machines.db1.memory: found 1" in told
    assert "Pulumi.prod.yaml: machines.old.vcpus: found 0" in told


def test_a_spoilt_lock_file_is_not_overwritten(
    project: Path, computer: object, capsys: pytest.CaptureFixture[str]
) -> None:
    path = project / "Placement.stage.lock.yaml"
    path.write_text("version: 1\nversion: 1\n")
    assert main(["place", "-s", "stage", "-C", str(project)]) == 1
    assert "the same key a second time" in capsys.readouterr().err
    assert path.read_text() == "version: 1\nversion: 1\n"


def test_a_prod_that_exists_is_placed_really(nothing_to_build: Path) -> None:
    command = [sys.executable, "-m", "cli", "place", "--stack", "organization/understudy/prod"]
    done = subprocess.run(
        [*command, "--cwd", str(nothing_to_build / "services")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    placed = lock(nothing_to_build, "prod")
    assert (placed.machines, placed.image, placed.seeds) == ((), "", ())
    text = (nothing_to_build / "Placement.prod.lock.yaml").read_text()
    assert text.startswith("# Written by `understudy place`")


# An image of the user's own


def name_image(project: Path, source: str) -> None:
    file = project / "Pulumi.stage.yaml"
    kept = [line for line in file.read_text().splitlines() if "understudy:image:" not in line]
    if source:
        kept.insert(kept.index("config:") + 1, f"  understudy:image: {source}")
    file.write_text("\n".join([*kept, ""]))


def placed(project: Path, *more: str) -> Placement:
    assert main(["place", "-s", "stage", "-C", str(project), *more]) == 0
    return lock(project)


def test_an_image_that_is_named_is_pinned_by_its_content(
    project: Path, computer: object, capsys: pytest.CaptureFixture[str]
) -> None:
    name_image(project, "images/mine.qcow2")
    found = placed(project)
    assert (found.image, found.own_image) == ("aa" * 32, OwnImage(source="images/mine.qcow2", disk_mib=3000))
    assert f"image: {'aa' * 32}, images/mine.qcow2" in capsys.readouterr().out


def test_another_content_is_taken_only_when_asked_for(
    project: Path, computer: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    name_image(project, "images/mine.qcow2")
    before = placed(project)
    DIGESTS["images/mine.qcow2"] = "cc" * 32
    assert placed(project) == before
    computer(newest=25)
    DIGESTS["images/mine.qcow2"] = "cc" * 32
    capsys.readouterr()
    assert placed(project, "--image") == replace(before, image="cc" * 32)
    told = capsys.readouterr().out
    assert f"image: {'aa' * 32}, images/mine.qcow2 -> {'cc' * 32}, images/mine.qcow2" in told
    assert "store" not in told


def test_another_name_is_asking_for_it(project: Path, computer: object) -> None:
    before = placed(project)
    name_image(project, "https://images.example/mine")
    own = OwnImage(source="https://images.example/mine", disk_mib=3000)
    assert placed(project) == replace(before, image="bb" * 32, own_image=own)
    name_image(project, "")
    assert placed(project) == before


def test_an_image_that_does_not_fit_a_disk_any_more(
    project: Path, computer: object, capsys: pytest.CaptureFixture[str]
) -> None:
    name_image(project, "images/mine.qcow2")
    placed(project)
    file = project / "Pulumi.prod.yaml"
    file.write_text(file.read_text().replace("    lb: {", "    lb: {system_disk: 2GiB, "))
    assert main(["place", "-s", "stage", "-C", str(project)]) == 1
    assert "lb's system_disk has 2048 MiB; wanted at least the image's 3000 MiB" in capsys.readouterr().err


# The pins


def test_seed_newest_moves_the_pins(
    project: Path, computer: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    main(["place", "-s", "stage", "-C", str(project)])
    computer(newest=23)
    capsys.readouterr()
    assert main(["seed", "--newest", "-s", "stage", "-C", str(project)]) == 0
    assert lock(project).seeds == tuple(pin(store, 23) for store in ("news", "papers", "shop"))
    told = capsys.readouterr().out
    assert (
        "store shop: 20261120-020000F of 2026-11-20 02:00:00 UTC -> 20261123-020000F of 2026-11-23 02:00:00 UTC" in told
    )
    assert main(["seed", "--newest", "-s", "stage", "-C", str(project)]) == 0
    assert "stay where they are" in capsys.readouterr().out


def test_seed_with_a_label_says_what_is_lost(
    project: Path, computer: object, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["place", "-s", "stage", "-C", str(project)])
    label = ["--snapshot", "20261118-020000F"]
    assert main(["seed", *label, "-s", "stage", "-C", str(project)]) == 1
    assert "--store with one of news, papers, shop" in capsys.readouterr().err
    assert main(["seed", *label, "--store", "shop", "-s", "stage", "-C", str(project)]) == 0
    assert "back by 2 d 0 h" in capsys.readouterr().out
    assert lock(project).seed("shop") == pin("shop", 18)
    assert lock(project).seed("news") == pin("news", 20)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--snapshot", "20261118-020000", "--store", "shop"], 'did you mean "20261118-020000F"?'),
        (["--snapshot", "20261121-020000F", "--store", "shop"], "a page is damaged"),
        (["--newest", "--store", "shoop"], 'did you mean "shop"?'),
    ],
)
def test_seed_with_names_that_are_not_there(
    project: Path, computer: object, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    main(["place", "-s", "stage", "-C", str(project)])
    before = lock(project)
    assert main(["seed", *arguments, "-s", "stage", "-C", str(project)]) == 1
    assert told in capsys.readouterr().err
    assert lock(project) == before


def test_seed_list_shows_and_changes_nothing(
    project: Path, computer: object, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["place", "-s", "stage", "-C", str(project)])
    before = (project / "Placement.stage.lock.yaml").read_bytes()
    capsys.readouterr()
    assert main(["seed", "--list", "--store", "shop", "-s", "stage", "-C", str(project)]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told == [
        "store shop:",
        "  20261118-020000F of 2026-11-18 02:00:00 UTC (full)",
        "  20261119-020000F of 2026-11-19 02:00:00 UTC (full)",
        "  20261120-020000F of 2026-11-20 02:00:00 UTC (full, pinned)",
        "  20261121-020000F of 2026-11-21 02:00:00 UTC (full): a page is damaged",
    ]
    assert (project / "Placement.stage.lock.yaml").read_bytes() == before


def test_a_prod_that_is_not_filled_has_no_pins(
    project: Path, computer: object, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["place", "-s", "prod", "-C", str(project)]) == 0
    assert lock(project, "prod").seeds == ()
    assert main(["seed", "--newest", "-s", "prod", "-C", str(project)]) == 1
    assert "`seed: empty`" in capsys.readouterr().err


def test_seed_before_place(project: Path, computer: object, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["seed", "--newest", "-s", "stage", "-C", str(project)]) == 1
    assert "understudy place -s stage" in capsys.readouterr().err
