"""A machine that does not answer: whether it runs in a circle, by what its host sees of it."""

from __future__ import annotations

import pytest

from provisioners.hypervisor import silent
from provisioners.hypervisor.virsh import Virsh
from tests.hypervisor.conftest import FakeVirsh

DOMAIN = "stage-db1"
KERNEL, HALTED, PROGRAM = "CPL=0 II=0 A20=1 SMM=0 HLT=0", "CPL=0 II=0 A20=1 SMM=0 HLT=1", "CPL=3 II=0 A20=1 SMM=0 HLT=0"


def registers(*processors: str) -> str:
    """Return what qemu's monitor says of a machine's processors."""
    each = "CPU#{}\r\nRAX=0000000000000000 RBX=1\r\nRIP=ffffffff81318a15 RFL=00000246 [---Z-P-] {}\r\nES =0000\r\n"
    return "\r\n".join(each.format(number, state) for number, state in enumerate(processors))


def stats(seconds: int, requests: int) -> str:
    """Return what libvirt says of a machine's work."""
    return (
        f"Domain: '{DOMAIN}'\n  cpu.time={seconds * 10**9}\n  cpu.user=1\n  block.count=2\n  block.0.name=vda\n"
        f"  block.0.rd.reqs={requests}\n  block.0.rd.bytes=4096\n  block.0.wr.reqs=7\n  block.1.rd.reqs=0\n"
    )


@pytest.mark.parametrize(
    ("kind", "looks", "circles"),
    [
        ("qemu", [((KERNEL, KERNEL), 10, 5), ((KERNEL, KERNEL), 30, 5), ((KERNEL, KERNEL), 51, 5)], True),
        ("qemu", [((PROGRAM, KERNEL), 10, 5), ((KERNEL, KERNEL), 30, 5), ((HALTED, KERNEL), 51, 5)], True),
        ("qemu", [((KERNEL, PROGRAM), 10, 5), ((KERNEL, HALTED), 30, 5), ((KERNEL, PROGRAM), 51, 5)], True),
        ("qemu", [((KERNEL, PROGRAM), 10, 5), ((PROGRAM, KERNEL), 51, 5)], False),
        ("qemu", [((KERNEL, KERNEL), 10, 5), ((KERNEL, KERNEL), 49, 5), ((PROGRAM, PROGRAM), 51, 5)], False),
        ("qemu", [((KERNEL, KERNEL), 10, 5), ((KERNEL, KERNEL), 51, 5)], False),
        ("qemu", [((KERNEL, KERNEL), 10, 5), ((KERNEL, KERNEL), 30, 6), ((KERNEL, KERNEL), 51, 6)], False),
        ("qemu", [((KERNEL, KERNEL), 10, 5), ((KERNEL, KERNEL), 10, 5), ((KERNEL, KERNEL), 51, 5)], False),
        ("qemu", [((KERNEL,), 10, 5), ((KERNEL,), 30, 5), ((KERNEL,), 51, 5)], False),
        ("qemu", [((HALTED, HALTED), 10, 5)], False),
        ("kvm", [((KERNEL, KERNEL), 10, 5), ((KERNEL, KERNEL), 30, 5), ((KERNEL, KERNEL), 51, 5)], False),
    ],
    ids=[
        *("both", "the last", "the first", "in turn", "a program, late", "many at once", "it reads its disk"),
        *("paused", "its only processor", "idle", "no emulation"),
    ],
)
def test_what_is_seen(
    virsh: FakeVirsh,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    looks: list[tuple[tuple[str, ...], int, int]],
    circles: bool,
) -> None:
    monkeypatch.setattr(silent, "_STEP_SECONDS", 0)
    monkeypatch.setattr(silent, "_LEAST_LOOKS", 3)
    virsh.answer(
        {
            f"domstate {DOMAIN} --reason": "running (booted)",
            f"dumpxml {DOMAIN}": f"<domain type='{kind}'/>",
            f"qemu-monitor-command --hmp {DOMAIN} info registers -a": [registers(*each[0]) for each in looks],
            f"domstats --cpu-total --block {DOMAIN}": [stats(seconds, requests) for _, seconds, requests in looks],
            f"reset {DOMAIN}": "",
        }
    )
    said: list[str] = []
    assert silent.look_at(Virsh(say=said.append), DOMAIN, resets=True) == circles
    assert (f"reset {DOMAIN}" in virsh.asked(), len(said)) == (circles, int(circles))


@pytest.mark.parametrize(
    ("state", "requests", "unborn", "resets"),
    [
        ("running", 7, True, True),
        ("running", 8, True, False),
        ("running", 7, False, False),
        ("shut off", 7, True, False),
    ],
    ids=["still", "it reads its disk", "it has answered before", "it is off"],
)
def test_one_that_never_answered_and_does_nothing(
    virsh: FakeVirsh, monkeypatch: pytest.MonkeyPatch, state: str, requests: int, unborn: bool, resets: bool
) -> None:
    monkeypatch.setattr(silent, "_STILL_SECONDS", 0.05)
    monkeypatch.setattr(silent, "_STEP_SECONDS", 0.02)
    virsh.answer(
        {
            f"domstate {DOMAIN} --reason": "running (booted)",
            f"domstate {DOMAIN}": state,
            f"dumpxml {DOMAIN}": "<domain type='kvm'/>",
            f"domstats --block {DOMAIN}": [stats(1, 7), stats(1, requests)],
            f"reset {DOMAIN}": "",
        }
    )
    said: list[str] = []
    assert silent.look_at(Virsh(say=said.append), DOMAIN, resets=True, unborn=unborn) == resets
    assert (f"reset {DOMAIN}" in virsh.asked(), len(said)) == (resets, int(resets))


def test_it_is_not_reset_twice_in_one_wait(virsh: FakeVirsh) -> None:
    virsh.answer({f"domstate {DOMAIN} --reason": "running (booted)"})
    assert not silent.look_at(Virsh(), DOMAIN, resets=False)
    assert virsh.asked() == [f"domstate {DOMAIN} --reason"]


def test_one_that_is_gone_meanwhile_is_left_to_whoever_asked(virsh: FakeVirsh) -> None:
    virsh.answer({f"dumpxml {DOMAIN}": "error: failed to get domain"})
    assert not silent.look_at(Virsh(), DOMAIN, resets=True)
