"""Hardware virtualisation is used where a guest shows that it works and is faster, and never where one hangs."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from provisioners.hypervisor import accelerator
from provisioners.hypervisor.accelerator import choose, decide, qemu_arguments, seconds_to_start

QEMU = """#!/bin/sh
for word; do case "$word" in file:*) console=${word#file:} ;; tcg | kvm) way=$word ;; esac; done
echo "$way $$" >>"$FAKE_LOG"
eval "$(cat "$FAKE_LOG.$way")"
"""
COMES_UP, HANGS, BREAKS = 'sleep {}; echo "Kernel panic" >"$console"; exec sleep 60', "sleep 60 & wait", "exit 1"


@pytest.fixture
def qemu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "qemu-system-x86_64").write_text(QEMU)
    (tmp_path / "bin" / "qemu-system-x86_64").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_LOG", str(tmp_path / "log"))
    monkeypatch.setattr(accelerator, "_RECORD", tmp_path / "accelerator.json")
    monkeypatch.setattr(accelerator, "_LIMIT_SECONDS", 3.0)
    (tmp_path / "kvm").write_text("")
    monkeypatch.setattr(accelerator, "_DEVICE", tmp_path / "kvm")
    return tmp_path


def guests(qemu: Path, *, tcg: str, kvm: str) -> None:
    (qemu / "log.tcg").write_text(tcg)
    (qemu / "log.kvm").write_text(kvm)


def running(qemu: Path) -> list[str]:
    started = [line.split()[1] for line in (qemu / "log").read_text().splitlines()]
    return [pid for pid in started if Path("/proc", pid).exists()]


@pytest.mark.parametrize(
    ("tcg", "kvm", "kind"),
    [
        (COMES_UP.format(1), COMES_UP.format(0), "kvm"),
        (COMES_UP.format(1), HANGS, "tcg"),
        (COMES_UP.format(1), BREAKS, "tcg"),
        (BREAKS, COMES_UP.format(0), "kvm"),
        (BREAKS, BREAKS, "tcg"),
    ],
)
def test_what_a_real_guest_shows_decides(qemu: Path, tcg: str, kvm: str, kind: str) -> None:
    guests(qemu, tcg=tcg, kvm=kvm)
    chosen = choose(lambda: Path("/kernel"), lambda _: None)
    assert chosen.kind == kind
    assert chosen.reason
    assert "\n" not in chosen.reason
    assert running(qemu) == []


def test_a_guest_that_hangs_costs_no_more_than_its_limit(qemu: Path) -> None:
    guests(qemu, tcg=HANGS, kvm=HANGS)
    began = time.monotonic()
    assert seconds_to_start(Path("/kernel"), "kvm", 0.5) is None
    assert time.monotonic() - began < 5
    assert running(qemu) == []


def test_it_is_asked_once_a_boot(qemu: Path) -> None:
    guests(qemu, tcg=COMES_UP.format(0.5), kvm=HANGS)
    first = choose(lambda: Path("/kernel"), lambda _: None)
    asked = (qemu / "log").read_text()
    assert choose(lambda: Path("/kernel"), lambda _: None) == first
    assert (qemu / "log").read_text() == asked
    record = json.loads((qemu / "accelerator.json").read_text())
    (qemu / "accelerator.json").write_text(json.dumps({**record, "boot": "an earlier one"}))
    choose(lambda: Path("/kernel"), lambda _: None)
    assert (qemu / "log").read_text() != asked


def test_without_the_device_nothing_is_tried(qemu: Path) -> None:
    """Without KVM there is no machine at all: ``could not find capabilities for domaintype=kvm``.

    https://github.com/dmacvicar/terraform-provider-libvirt/issues/11, https://github.com/dmacvicar/terraform-provider-libvirt/issues/442
    """
    (qemu / "kvm").unlink()
    assert choose(lambda: Path("/kernel"), lambda _: None).kind == "tcg"
    assert not (qemu / "log").exists()


def test_equal_is_not_faster() -> None:
    assert decide(2.0, 2.0, 2.0).kind == "tcg"


def test_the_tiny_guest_has_no_disk_and_no_card() -> None:
    words = qemu_arguments(Path("/kernel"), "tcg", Path("/console"))
    assert "-nodefaults" in words
    assert not [word for word in words if "netdev" in word or "drive" in word]
