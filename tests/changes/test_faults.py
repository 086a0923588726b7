"""What can happen in the middle of a change: afterwards all is old or all is new, and the next run ends it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from model.change import Step
from model.errors import UnderstudyError
from provisioners.changes.apply import apply, observe
from provisioners.machine_lock import machine_lock
from provisioners.outcome import ConnectionLost
from provisioners.shell import Shell, close_all, connect
from tests.changes.values import (
    CONFIG,
    GONE,
    SECRET,
    SERVICE,
    UNIT_FILE,
    backups,
    inputs,
    quiet,
    read,
    state_of,
    tree,
    with_content,
)
from tests.doubles.sshd import Machine

PLACES = ("/etc/web", "/etc/web.d", "/etc/systemd/system", "/run/fake-systemd/web.service.active")
FILES = tuple(path.lstrip("/") for path in (CONFIG, UNIT_FILE, GONE))

State = dict[str, tuple[str, int, int, bytes | str]]


@pytest.fixture
def machine() -> Iterator[Machine]:
    """A machine that runs the service."""
    with Machine() as running:
        (running.root / "etc/fake-strict").touch()
        old = running.root / GONE.lstrip("/")
        old.parent.mkdir()
        old.write_text("old\n")
        given = inputs(running)
        files = {path: file for path, file in given["files"].items() if path != GONE}
        SERVICE.create({**given, "files": files}, quiet)
        yield running
        close_all()


def changed(machine: Machine, **more: Any) -> dict[str, Any]:
    """Return inputs of a change that writes over two files and removes one."""
    given = with_content(inputs(machine, **more), CONFIG, "port = 1\nsecond\npassword=@@password of shop@@\n")
    return with_content(given, UNIT_FILE, "[Service]\nExecStart=/bin/sleep 2\n", mode="0600")


def update(given: dict[str, Any]) -> None:
    SERVICE.update("", given, given, {}, quiet)


def stepwise(machine: Machine, given: dict[str, Any], before: Callable[[Step], None]) -> None:
    """Make the change, and let something happen before each step."""
    with connect(machine.connection, machine.private_key, quiet, 10) as shell, machine_lock(shell, "a test"):
        apply(shell, given, observe(shell, given), before=before)


def at_step(name: str, act: Callable[[], object]) -> Callable[[Step], None]:
    """Return what acts before the step whose name begins so."""

    def before(step: Step) -> None:
        if step.name.startswith(name):
            act()

    return before


def wholly_old_or_new(now: State, first: State, given: dict[str, Any]) -> None:
    for name in FILES:
        file = given["files"][f"/{name}"]
        new = file.get("content", "").replace("@@password of shop@@", SECRET).encode()
        mode = f"10{file.get('mode', '0644')}"
        is_new = name not in now if file.get("absent") else name in now and now[name][::3] == (mode, new)
        assert now.get(name) == first.get(name) or is_new, name


def is_open(machine: Machine) -> bool:
    return (machine.root / "root/configs/.open/web").is_symlink()


def wait_until_closed(machine: Machine, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while is_open(machine):
        assert time.monotonic() < deadline, machine.inside("bash", "-c", "cat /run/fake-systemd/*.log", code=None)
        time.sleep(0.2)


def controller(given: dict[str, Any], dies_at: int = -1) -> subprocess.Popen[str]:
    argv = (sys.executable, "-m", "tests.changes.controller", str(dies_at))
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdin is not None
    process.stdin.write(json.dumps(given))
    process.stdin.close()
    process.stdin = None
    return process


@pytest.mark.parametrize("step", range(12))
def test_a_controller_killed_before_any_step(machine: Machine, step: int) -> None:
    first, given = tree(machine, *PLACES), changed(machine)
    process = controller(given, step)
    said, _ = process.communicate(timeout=60)
    if step == 11:
        assert process.returncode == 0, "there are more steps than this test walks through"
    else:
        assert process.returncode == -signal.SIGKILL, said
        assert is_open(machine) == (step > 0)
    wholly_old_or_new(tree(machine, *PLACES), first, given)
    update(given)
    assert read(given).inputs == given
    assert not is_open(machine)
    SERVICE.delete("", given, {}, quiet)
    assert tree(machine, *PLACES)["etc/web.d/old"][3] == b"old\n"


def test_the_machine_takes_it_back_by_itself_when_the_controller_is_gone(machine: Machine) -> None:
    first, given = tree(machine, *PLACES), changed(machine, confirm_seconds=5)
    process = controller(given, 10)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, said
    assert tree(machine, *PLACES) != first, "all but the word to keep it was done"
    wait_until_closed(machine, 60)
    assert tree(machine, *PLACES) == first
    assert [state_of(path) for path in backups(machine)] == ["kept", "backed-out"]
    update(given)
    assert read(given).inputs == given


def test_a_slow_controller_keeps_its_change(machine: Machine) -> None:
    """Each step that went well starts the deadline anew: it is about silence, not about the whole."""
    given = changed(machine, confirm_seconds=5)
    stepwise(machine, given, lambda step: time.sleep(2.5))
    assert read(given).inputs == given
    assert [state_of(path) for path in backups(machine)] == ["kept", "kept"]


def test_a_change_that_the_machine_took_back_meanwhile_is_not_kept(machine: Machine) -> None:
    first, given = tree(machine, *PLACES), changed(machine, confirm_seconds=5)
    with pytest.raises(UnderstudyError, match=r"`keep it` failed: (.|\n)*The old configuration is back"):
        stepwise(machine, given, at_step("keep", lambda: wait_until_closed(machine, 60)))
    assert tree(machine, *PLACES) == first


@pytest.mark.parametrize("name", ["copy", "lay /etc/web", "put in place", "keep"])
def test_a_cut_connection(machine: Machine, name: str) -> None:
    first, given = tree(machine, *PLACES), changed(machine)
    with pytest.raises(ConnectionLost, match="takes its old configuration back by itself within 140 s"):
        stepwise(machine, given, at_step(name, machine.drop_sessions))
    wholly_old_or_new(tree(machine, *PLACES), first, given)
    assert is_open(machine)
    update(given)
    assert read(given).inputs == given


def test_a_connection_cut_while_a_step_runs(machine: Machine) -> None:
    """The step that still runs on the machine is waited for before anything is taken back."""
    first, given = tree(machine, *PLACES), changed(machine)
    given["validate"] = {UNIT_FILE: ["sh", "-c", "echo >/tmp/begun; sleep 3; test -e {} && echo >/tmp/done"]}

    def cut() -> None:
        while not (machine.root / "tmp/begun").exists():
            time.sleep(0.05)
        machine.drop_sessions()

    cutter = threading.Thread(target=cut)
    cutter.start()
    with pytest.raises(ConnectionLost):
        update(given)
    cutter.join()
    given["validate"] = {}
    update(given)
    assert (machine.root / "tmp/done").exists()
    assert read(given).inputs == given
    assert state_of(backups(machine)[1]) == "backed-out"
    machine.inside("bash", "-c", f'bash "{backup_of(machine)}/back-out.sh"')
    assert tree(machine, *PLACES) == first


def backup_of(machine: Machine) -> str:
    return f"/root/configs/web/{backups(machine)[-1].name}"


def test_a_disk_without_room(machine: Machine) -> None:
    first = tree(machine, "/etc/systemd/system")
    machine.inside(
        "bash", "-c", "cp -a /etc/web /tmp/; mount -t tmpfs -o size=16k none /etc/web; cp -a /tmp/web/. /etc/web/"
    )
    held = tree(machine, "/etc/web")
    given = with_content(changed(machine), CONFIG, "port = 1\n" * 4000)
    with pytest.raises(UnderstudyError, match=r"`lay /etc/web/a b.conf beside` failed: .*No space left(.|\n)*is back"):
        update(given)
    assert tree(machine, "/etc/web") == held
    assert tree(machine, "/etc/systemd/system") == first
    assert not is_open(machine)
    update(changed(machine))
    assert read(changed(machine)).inputs == changed(machine)


def test_no_room_for_the_copies(machine: Machine) -> None:
    first = tree(machine, *PLACES)
    machine.inside("bash", "-c", "mount -t tmpfs -o size=12k none /root/configs")
    with pytest.raises(UnderstudyError, match=r"No space left"):
        update(changed(machine))
    assert tree(machine, *PLACES) == first
    machine.inside("umount", "/root/configs")
    update(changed(machine))
    assert read(changed(machine)).inputs == changed(machine)


def test_no_room_for_the_way_back_until_somebody_makes_some(machine: Machine) -> None:
    machine.inside(
        "bash", "-c", "cp -a /etc/web /tmp/; mount -t tmpfs -o size=16k none /etc/web; cp -a /tmp/web/. /etc/web/"
    )
    first = tree(machine, *PLACES)
    given = changed(machine, confirm_seconds=5, checks=[{"name": "no", "command": ["false"]}])
    filling = "head -c 1M /dev/zero >/etc/web/filling || true"
    with pytest.raises(UnderstudyError, match=r"NOT taken back: .*No space left(.|\n)*tries it again by itself"):
        stepwise(machine, given, at_step("check", lambda: machine.inside("bash", "-c", filling)))
    assert is_open(machine)
    wholly_old_or_new(tree(machine, *PLACES), first, given)
    (machine.root / "etc/web/filling").unlink()
    wait_until_closed(machine, 60)
    assert tree(machine, *PLACES) == first


@pytest.mark.parametrize("path", [CONFIG, UNIT_FILE])
def test_a_file_that_nobody_can_replace(machine: Machine, path: str) -> None:
    first = tree(machine, *PLACES)
    machine.inside("mount", "--bind", path, path)
    with pytest.raises(UnderstudyError, match=r"`put in place` failed: mv: .*busy(.|\n)*The old configuration is back"):
        update(changed(machine))
    assert tree(machine, *PLACES) == first
    machine.inside("umount", path)
    update(changed(machine))
    assert read(changed(machine)).inputs == changed(machine)


def test_an_immutable_file(machine: Machine) -> None:
    """On a real ext4: what chattr says counts, and the file placed before it goes back."""
    ext4 = "truncate -s 8M /tmp/disk; mke2fs -q -t ext4 /tmp/disk; mount -o loop /tmp/disk /etc/systemd/system"
    machine.inside(
        "bash", "-c", f"cp -a /etc/systemd/system /tmp/units; {ext4}; cp -a /tmp/units/. /etc/systemd/system/"
    )
    try:
        first = tree(machine, *PLACES)
        machine.inside("chattr", "+i", UNIT_FILE)
        with pytest.raises(UnderstudyError, match=r"`put in place` failed: mv: .*not permitted(.|\n)*is back"):
            update(changed(machine))
        assert tree(machine, *PLACES) == first
        machine.inside("chattr", "-i", UNIT_FILE)
        update(changed(machine))
        assert read(changed(machine)).inputs == changed(machine)
    finally:
        machine.inside("umount", "/etc/systemd/system", code=None)


def test_a_link_where_new_content_is_to_lie_is_not_followed(machine: Machine) -> None:
    first = tree(machine, *PLACES)
    machine.inside("bash", "-c", "mkdir -m 0700 /srv/elsewhere; ln -s /srv/elsewhere /etc/web/.understudy-web")
    with pytest.raises(UnderstudyError, match=r"/etc/web/.understudy-web is a link(.|\n)*is back"):
        update(changed(machine))
    assert tree(machine, "/srv/elsewhere") == {"srv/elsewhere": ("40700", 0, 0, b"")}
    assert tree(machine, *PLACES) == first
    update(changed(machine))
    assert read(changed(machine)).inputs == changed(machine)


@pytest.mark.parametrize("what", ["written", "removed", "linked", "mode"])
def test_a_second_edit_by_hand_in_between(machine: Machine, what: str) -> None:
    first, given = tree(machine, *PLACES), changed(machine)
    path = machine.root / CONFIG.lstrip("/")

    def edit() -> None:
        if what == "mode":
            path.chmod(0o604)
        else:
            path.unlink()
        if what == "written":
            path.write_text("by hand\n")
        elif what == "linked":
            path.symlink_to("/etc/hostname")

    with pytest.raises(
        UnderstudyError, match=r"a b.conf was changed by somebody else meanwhile(.|\n)* is back"
    ) as caught:
        stepwise(machine, given, at_step("put in place", edit))
    assert tree(machine, *PLACES) == first
    if what == "written":
        assert "is now in /root/configs/web/" in str(caught.value)
        assert (backups(machine)[-1] / "found/etc/web/a b.conf").read_text() == "by hand\n"
    update(given)
    assert read(given).inputs == given


def test_two_controllers_at_once(machine: Machine) -> None:
    given = [with_content(changed(machine), CONFIG, f"port = 1\n{name}\n") for name in ("one", "two")]
    both = [controller(each) for each in given]
    for process in both:
        said, _ = process.communicate(timeout=120)
        assert process.returncode == 0, said
    assert sorted(state_of(path) for path in backups(machine)) == ["kept"] * 3
    winner = (machine.root / CONFIG.lstrip("/")).read_text()
    assert winner in ("port = 1\none\n", "port = 1\ntwo\n")
    assert read(given["two" in winner]).inputs == given["two" in winner]


def test_a_person_and_a_controller_at_once(machine: Machine) -> None:
    """Whoever opens second is refused by the machine itself, without any lock of the controllers."""
    opened: list[str] = []

    def type_the_same(step: Step) -> None:
        if step.name.startswith("copy"):
            opened.append(machine.inside("bash", "-c", opening[0].command, code=1))
        else:
            opening.append(step)

    opening: list[Step] = []
    stepwise(machine, changed(machine), type_the_same)
    assert "File exists" in opened[0]
    assert read(changed(machine)).inputs == changed(machine)


@pytest.mark.parametrize("name", ["lay /etc/web", "tell systemd", "keep"])
def test_a_machine_that_boots_anew_in_the_middle(machine: Machine, name: str) -> None:
    first, given = tree(machine, *PLACES), changed(machine)
    with pytest.raises(ConnectionLost):
        stepwise(machine, given, at_step(name, machine.reboot))
    active = "run/fake-systemd/web.service.active"
    assert tree(machine, *PLACES) == first, "as it was, without anybody"
    assert active in first
    assert not is_open(machine)
    assert state_of(backups(machine)[-1]) == "backed-out"
    update(given)
    assert read(given).inputs == given


def test_what_was_kept_but_not_tidied_up_is_kept(machine: Machine) -> None:
    given = changed(machine)
    stepwise(machine, given, lambda step: None)
    backup = backups(machine)[-1]
    (machine.root / "root/configs/.open/web").symlink_to(backup_of(machine))
    update(given)
    assert not is_open(machine)
    assert read(given).inputs == given
    assert state_of(backup) == "kept"


def test_secrets_are_in_no_text_and_no_log(machine: Machine, shell: Shell) -> None:
    given = changed(machine)
    texts: list[str] = []
    stepwise(machine, given, lambda step: texts.append(step.command))
    assert len(texts) > 8
    assert not [text for text in texts if SECRET in text]
    assert SECRET.encode() in (machine.root / CONFIG.lstrip("/")).read_bytes()
    assert SECRET not in machine.log()
    assert SECRET not in "".join(machine.systemctl_calls())
    copies = [path for path in (machine.root / "root/configs").rglob("*") if path.is_file()]
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in copies if "/files/" not in str(path))
    assert (machine.root / "root/configs").stat().st_mode & 0o777 == 0o700


def test_old_copies_are_pruned_by_the_rule_alone(machine: Machine) -> None:
    """Older than 400 days, and not among the newest 20; what was there before us stays."""
    folder = machine.root / "root/configs/web"
    old = [f"2020010{day}T000000Z-0123456789ab" for day in range(1, 10)]
    young = [
        f"{time.strftime('%Y%m%d', time.gmtime(time.time() - 86400 * days))}T000000Z-cafe" for days in range(1, 25)
    ]
    for name in (*old, *young):
        (folder / name).mkdir()
    update(changed(machine))
    left = {path.name for path in backups(machine)}
    assert not left & set(old), "the newest 20 are others"
    assert left > set(young), "however many there are, none is old enough"
    for name in (*old, *young):
        (folder / name).mkdir(exist_ok=True)
    for name in young:
        (folder / name).rmdir()
    update(with_content(changed(machine), CONFIG, "port = 1\nthird\n"))
    assert len([path for path in backups(machine) if path.name in old]) == 9, "12 are not more than 20"
    assert (folder / "original/back-out.sh").exists()


def test_an_earlier_change_is_not_taken_back_beside_an_open_one(machine: Machine) -> None:
    given = changed(machine)
    said: list[str] = []

    def also(step: Step) -> None:
        if step.name.startswith("put in place"):
            said.append(machine.inside("bash", f"{first}/back-out.sh", code=1))

    first = backup_of(machine)
    stepwise(machine, given, also)
    assert "another change of web is open" in said[0]
    assert read(given).inputs == given
