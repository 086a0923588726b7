"""What is swept: exactly what carries the stack's mark and is not in its state."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.errors import UnderstudyError
from model.libvirt_xml import CardSpec, DomainSpec, domain_xml
from model.state import Recorded
from provisioners.hypervisor.host import write_whole
from provisioners.hypervisor.seeds import seed_directory
from provisioners.hypervisor.sweep import Thing, decide_left_over, sweep
from tests.hypervisor.conftest import FakeVirsh
from tests.hypervisor.test_savefile import libvirts_own

OWNER = "understudy/stage/a2ad7316"
NAMES = st.frozensets(st.sampled_from("abcdef"))
SORTS = st.sampled_from(["machine", "saved memory", "disk", "network", "pool", "fence"])


@given(
    st.lists(st.builds(Thing, sort=SORTS, name=st.sampled_from("abcdef"), needs=st.just(()))),
    st.builds(Recorded, domains=NAMES, networks=NAMES, pools=NAMES, volumes=NAMES, fenced=st.booleans()),
)
def test_nothing_known_is_left_over_and_machines_go_first(things: list[Thing], known: Recorded) -> None:
    left_over = decide_left_over(things, known)
    assert not [thing for thing in left_over if thing.sort == "machine" and thing.name in known.domains]
    assert not [thing for thing in left_over if thing.sort == "disk" and thing.name in known.volumes]
    assert not [thing for thing in left_over if thing.sort == "fence" and known.fenced]
    unknown = [thing for thing in things if thing.sort == "machine" and thing.name not in known.domains]
    assert sorted(map(str, left_over[: len(unknown)])) == sorted(map(str, unknown))


def xml(name: str, owner: str, disk: str = "/d") -> str:
    card = CardSpec(network="n", mac="52:54:00:00:00:01")
    uuid = "6b1f3b3e-52c5-5cf3-9d11-0a5d2a8ac6a1"
    return domain_xml(
        DomainSpec(name=name, uuid=uuid, owner=owner, vcpus=1, memory_mib=1, system_disk=disk, control=card)
    )


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, virsh: FakeVirsh) -> Path:
    for name in ("fences", "stacks", "templates", "saves"):
        (tmp_path / name).mkdir()
    for module, name in (("sweep", "STACKS"), ("sweep", "FENCES"), ("fence", "FENCES"), ("template", "TEMPLATES")):
        monkeypatch.setattr(f"provisioners.hypervisor.{module}.{name}", tmp_path / name.lower())
    for module in ("sweep", "warm_start"):
        monkeypatch.setattr(f"provisioners.hypervisor.{module}.MANAGED_SAVES", tmp_path / "saves")
    monkeypatch.setattr("provisioners.hypervisor.seeds.SEEDS", tmp_path / "seeds")
    monkeypatch.setattr("provisioners.hypervisor.fence.HOOKS", tmp_path / "hooks")
    return tmp_path


EMPTY = {"list --all --name": "", "net-list --all --name": "", "pool-list --all --name": "", "list --name": ""}


def test_what_carries_another_mark_is_not_touched(host: Path, virsh: FakeVirsh) -> None:
    virsh.answer(
        {
            **EMPTY,
            "list --all --name": "stage-a\nstage-b\nwindows",
            "dumpxml stage-a": xml("stage-a", OWNER),
            "dumpxml stage-b": xml("stage-b", "understudy/stage/00000000"),
            "dumpxml windows": "<domain><name>windows</name></domain>",
        }
    )
    assert sweep("stage", OWNER, Recorded(), print, act=False) == ("machine stage-a",)
    assert not [asked for asked in virsh.asked() if asked.startswith(("destroy", "undefine"))]


def test_a_left_over_is_taken_away_in_order(host: Path, virsh: FakeVirsh) -> None:
    """What a stopped run left stops the next one: ``domain 'a' already exists with uuid``.

    https://github.com/dmacvicar/terraform-provider-libvirt/issues/423, https://github.com/dmacvicar/terraform-provider-libvirt/issues/921
    """
    disk = host / "stacks" / "stage" / "a.qcow2"
    disk.parent.mkdir()
    disk.write_bytes(b"")
    pool = f"<pool><target><path>{disk.parent}</path></target></pool>"
    virsh.answer(
        {
            **EMPTY,
            "list --all --name": "stage-a",
            "dumpxml stage-a": xml("stage-a", OWNER),
            "domstate stage-a": ["running", "shut off"],
            "destroy stage-a": "",
            "managedsave-remove stage-a": "",
            "undefine stage-a --managed-save --snapshots-metadata --checkpoints-metadata --nvram": "",
            "net-list --all --name": "stage-mirror\ndefault",
            "net-dumpxml stage-mirror": "<network><bridge name='usc7ff6dm'/></network>",
            "net-list --name": "stage-mirror",
            "net-destroy stage-mirror": "",
            "net-undefine stage-mirror": "",
            "pool-list --all --name": "stage",
            "pool-list --name": "stage",
            "pool-dumpxml stage": pool,
            "pool-refresh stage": "",
            "pool-destroy stage": "",
            "pool-undefine stage": "",
        }
    )
    assert sweep("stage", OWNER, Recorded(), print, act=True) == (
        "machine stage-a",
        f"disk {disk}",
        "network stage-mirror",
        "pool stage",
    )
    assert not disk.parent.exists()


def test_another_states_stack_of_the_same_name_is_refused(host: Path, virsh: FakeVirsh) -> None:
    write_whole(host / "fences" / "stage.json", '{"owner": "understudy/stage/00000000"}')
    with pytest.raises(UnderstudyError, match="belong to another state"):
        sweep("stage", OWNER, Recorded(), print, act=True)
    assert virsh.asked() == []


def test_a_memory_stays_while_its_machine_is_still_to_come(host: Path, virsh: FakeVirsh) -> None:
    virsh.answer(EMPTY)
    for name, owner in (("stage-a", OWNER), ("stage-b", OWNER), ("stage-2-a", "understudy/stage-2/a2ad7316")):
        memory = libvirts_own(xml(name, owner, f"/{name}.qcow2").encode(), b"", b"memory")
        (host / "saves" / f"{name}.save").write_bytes(memory)
    (host / "saves" / "other.save").write_bytes(b"no memory of ours")
    known = Recorded(volumes=frozenset({"/stage-a.qcow2"}))
    assert sweep("stage", OWNER, known, print, act=True) == (f"saved memory {host / 'saves' / 'stage-b.save'}",)
    assert sorted(path.name for path in (host / "saves").iterdir()) == ["other.save", "stage-2-a.save", "stage-a.save"]


def test_what_killed_writers_left_is_removed_and_what_is_being_written_is_not(host: Path, virsh: FakeVirsh) -> None:
    virsh.answer(EMPTY)
    dead, alive = host / "saves" / ".a.save.999999999.part", host / "saves" / ".a.save.1.part"
    dead.write_bytes(b"")
    alive.write_bytes(b"")
    sweep("stage", OWNER, Recorded(), print, act=False)
    assert (dead.exists(), alive.exists()) == (False, True)


def test_a_disk_that_was_plugged_in_for_a_while_is_unplugged(host: Path, virsh: FakeVirsh) -> None:
    lasting = xml("stage-a", OWNER)
    now = lasting.replace("</devices>", "<disk><source file='/gone'/><target dev='vdz'/></disk></devices>")
    virsh.answer(
        {
            **EMPTY,
            "list --all --name": "stage-a",
            "list --name": "stage-a",
            "dumpxml stage-a": now,
            "dumpxml stage-a --inactive": lasting,
            "detach-disk stage-a vdz --live": "",
        }
    )
    assert sweep("stage", OWNER, Recorded(domains=frozenset({"stage-a"})), print, act=True) == ()
    assert "detach-disk stage-a vdz --live" in virsh.asked()


def test_what_a_killed_run_made_of_a_backup_goes(host: Path, virsh: FakeVirsh) -> None:
    """It has the backup's size; after `destroy` nothing else would look for it."""
    virsh.answer(EMPTY)
    (host / "seeds" / "stage-db1-killed").mkdir(parents=True)
    (host / "seeds" / "stage-db1-killed" / "seed.img").write_bytes(b"image")
    with seed_directory("stage-db1") as used:
        sweep("stage", OWNER, Recorded(), print, act=True)
        assert list((host / "seeds").iterdir()) == [used]
