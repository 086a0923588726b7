"""The kind: made, looked at, changed, taken away; whatever fails, what was there before is back."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from model.change.digest import NOTHING, change_digest
from model.errors import UnderstudyError
from provisioners.changes.apply import back_out, changes_on, observe
from provisioners.changes.leaving import going
from provisioners.changes.written import service_part
from provisioners.provider.differences import differences
from provisioners.shell import Shell, close_all
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


@pytest.fixture
def machine() -> Iterator[Machine]:
    """A machine where an old file of the service lies."""
    with Machine() as running:
        (running.root / "etc/fake-strict").touch()
        old = running.root / GONE.lstrip("/")
        old.parent.mkdir()
        old.write_text("old\n")
        old.chmod(0o604)
        os.chown(old, 1, 4)
        yield running
        close_all()


def test_its_life(machine: Machine) -> None:
    first, wanted = tree(machine, *PLACES), inputs(machine)
    assert SERVICE.check(wanted) == ()
    identifier, outputs = SERVICE.create(wanted, quiet)
    assert identifier == "m1:web"
    made = tree(machine, *PLACES)
    assert made["etc/web/a b.conf"] == ("100640", 0, 4, f"port = 1\npassword={SECRET}\n".encode())
    assert made["etc/systemd/system/web.service"][0] == "100644"
    assert "etc/web.d/old" not in made
    assert "run/fake-systemd/web.service.active" in made
    assert not [name for name in made if "understudy" in name], "nothing of ours is left beside"
    assert read(wanted).inputs == wanted
    assert outputs["backup"] == f"/root/configs/web/{backups(machine)[0].name}"
    assert outputs["backup"].endswith(f"Z-{outputs['change']}")
    assert SERVICE.update("", wanted, wanted, outputs, quiet) == outputs

    changed = with_content(wanted, CONFIG, "port = 1\nmore\n", owner="daemon")
    later = SERVICE.update("", wanted, changed, outputs, quiet)
    assert later["change"] != outputs["change"]
    assert tree(machine, "/etc/web")["etc/web/a b.conf"] == ("100640", 1, 4, b"port = 1\nmore\n")
    SERVICE.delete("", changed, later, quiet)
    assert tree(machine, *PLACES) == first, "what was there before us, its owner and mode too"
    SERVICE.delete("", changed, later, quiet)
    assert tree(machine, *PLACES) == first
    SERVICE.create(wanted, quiet)
    assert tree(machine, *PLACES) == made


def test_an_unchanged_machine_costs_one_round_trip(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = inputs(machine)
    _, outputs = SERVICE.create(wanted, quiet)
    run, count = Shell.run, [0]

    def counted(self: Shell, *args: object, **more: object) -> object:
        count[0] += 1
        return run(self, *args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Shell, "run", counted)
    SERVICE.update("", wanted, {**wanted, "generation": "2"}, outputs, quiet)
    assert count == [1]
    read(wanted)
    assert count == [2]


def test_a_failed_check_backs_out_at_once_and_says_so(machine: Machine) -> None:
    wanted = inputs(machine)
    _, outputs = SERVICE.create(wanted, quiet)
    made = tree(machine, *PLACES)
    bad = with_content(
        {**wanted, "checks": [{"name": "no", "command": ["sh", "-c", "echo bad; exit 3"]}]}, CONFIG, "x port\n"
    )
    with pytest.raises(UnderstudyError, match=r"m1: web: the step `check: no` failed: bad. The old .* is back"):
        SERVICE.update("", wanted, bad, outputs, quiet)
    assert tree(machine, *PLACES) == made
    assert [state_of(path) for path in backups(machine)] == ["kept", "backed-out"]
    assert not (machine.root / "root/configs/.open/web").is_symlink()
    restarts = [call for call in machine.systemctl_calls() if "restart -- web.service" in call]
    assert len(restarts) == 3, "once made, once changed, once taken back"


def test_a_refused_file_is_never_in_place_and_its_secret_is_not_told(machine: Machine) -> None:
    wanted = inputs(machine, validate={CONFIG: ["sh", "-c", 'cat "$0"; exit 1', "{}"]})
    first = tree(machine, *PLACES)
    with pytest.raises(UnderstudyError, match=r"`validate /etc/web/a b.conf` failed: (.|\n)*port = 1") as caught:
        SERVICE.create(wanted, quiet)
    assert SECRET not in str(caught.value)
    assert "@@password of shop@@" in str(caught.value)
    assert tree(machine, *PLACES) == first
    assert not any("restart -- web.service" in call for call in machine.systemctl_calls())


def test_a_unit_that_does_not_run_with_the_new_file_runs_with_the_old_one(machine: Machine) -> None:
    needs = machine.root / "etc/fake-needs/web.service"
    needs.parent.mkdir()
    needs.write_text(f"{UNIT_FILE} sleep\n")
    wanted = inputs(machine)
    SERVICE.create(wanted, quiet)
    made = tree(machine, *PLACES)
    with pytest.raises(UnderstudyError, match=r"`tell systemd: web` failed: (.|\n)*the last words of the service"):
        SERVICE.update("", wanted, with_content(wanted, UNIT_FILE, "[Service]\n"), {}, quiet)
    assert tree(machine, *PLACES) == made


def test_drift_is_shown_line_by_line_and_no_secret_with_it(machine: Machine) -> None:
    wanted = inputs(machine)
    SERVICE.create(wanted, quiet)
    config = machine.root / CONFIG.lstrip("/")
    config.write_text(f"port = 2\npassword={SECRET}\n")
    config.chmod(0o600)
    (machine.root / UNIT_FILE.lstrip("/")).unlink()
    (machine.root / "run/fake-systemd/web.service.active").unlink()
    real = read(wanted).inputs
    assert real["files"][CONFIG]["content"] == "port = 2\npassword=@@password of shop@@\n"
    assert real["files"][CONFIG]["mode"] == "0600"
    assert real["files"][UNIT_FILE] == {"absent": True}
    assert real["units"]["web.service"] == {**wanted["units"]["web.service"], "running": False}
    config.write_text("port = 1\npassword=another\n")
    assert "another" not in str(read(wanted).inputs)
    assert read(wanted).inputs["files"][CONFIG] != wanted["files"][CONFIG]
    config.write_text(wanted["files"][CONFIG]["content"])
    assert read(wanted).inputs["files"][CONFIG] != wanted["files"][CONFIG], "a mark is not the secret"
    SERVICE.update("", wanted, wanted, {}, quiet)
    assert read(wanted).inputs == wanted


def test_a_secret_that_changed_is_written(machine: Machine) -> None:
    wanted = inputs(machine)
    SERVICE.create(wanted, quiet)
    SERVICE.update("", wanted, {**wanted, "secrets": {"password of shop": "new"}}, {}, quiet)
    assert (machine.root / CONFIG.lstrip("/")).read_text() == "port = 1\npassword=new\n"


def test_a_file_that_left_the_service_is_as_it_was_before_us(machine: Machine) -> None:
    wanted = inputs(machine)
    SERVICE.create(wanted, quiet)
    fewer = {**wanted, "files": {CONFIG: wanted["files"][CONFIG]}, "units": {}, "checks": []}
    SERVICE.update("", wanted, fewer, {}, quiet)
    now = tree(machine, *PLACES)
    assert now["etc/web.d/old"] == ("100604", 1, 4, b"old\n")
    assert "etc/systemd/system/web.service" not in now
    assert "run/fake-systemd/web.service.active" not in now
    count = len(backups(machine))
    SERVICE.update("", fewer, fewer, {}, quiet)
    assert len(backups(machine)) == count


def test_a_change_has_the_id_of_its_rehearsal(machine: Machine, shell: Shell) -> None:
    """The gate and the records know a change by its digest; a machine, a document and a person by its first digits."""
    one, two = "1" * 64, "2" * 64
    wanted = inputs(machine, service="named", checks=[], digest=one)
    made = SERVICE.create(wanted, quiet)[1]["change"]
    assert made == change_digest(NOTHING, one)[:12]
    later = {**with_content(wanted, CONFIG, "port = 2\n"), "digest": two}
    assert SERVICE.update("", wanted, later, {}, quiet)["change"] == change_digest(one, two)[:12]
    (machine.root / CONFIG.lstrip("/")).write_text("by hand\n")
    by_hand = SERVICE.update("", later, later, {}, quiet)["change"]
    assert by_hand not in (change_digest(one, two)[:12], change_digest(two, two)[:12]), "what is in Git did not change"
    SERVICE.delete("", later, {}, quiet)
    assert changes_on(shell)[0].identifier == change_digest(two, NOTHING)[:12]


def test_what_was_there_before_us_has_the_digest_that_the_state_knows(machine: Machine, shell: Shell) -> None:
    was, wanted = {"digest": "1" * 64, "adopt": True}, inputs(machine, service="adopted", digest="2" * 64, adopt=True)
    made = SERVICE.update("", {**wanted, **was}, wanted, {}, quiet)["change"]
    assert made == change_digest("1" * 64, "2" * 64)[:12]
    back_out(shell, changes_on(shell)[0])
    again = SERVICE.update("", {**wanted, **was}, wanted, {}, quiet)["change"]
    assert again == made, "also once it was taken back"


def test_a_change_of_last_month_is_taken_back(machine: Machine, shell: Shell) -> None:
    wanted = inputs(machine)
    _, first = SERVICE.create(wanted, quiet)
    made = tree(machine, *PLACES)
    changed = with_content(wanted, CONFIG, "port = 1\nmore\n")
    outputs = SERVICE.update("", wanted, changed, {}, quiet)
    newest, oldest = changes_on(shell)
    assert (newest.identifier, newest.state, newest.service) == (outputs["change"], "kept", "web")
    assert oldest.directory == first["backup"]
    config = machine.root / CONFIG.lstrip("/")
    config.write_text("by hand\n")
    assert "what somebody else wrote" in back_out(shell, newest)
    assert tree(machine, *PLACES) == made
    assert (machine.root / newest.directory.lstrip("/") / "found/etc/web/a b.conf").read_text() == "by hand\n"
    back_out(shell, newest)
    assert tree(machine, *PLACES) == made
    assert changes_on(shell)[0].state == "backed-out"
    assert read(changed).inputs != changed, "the next preview shows that Git and the machine differ"


@pytest.mark.parametrize("ahead", [timedelta(seconds=1), timedelta(days=40)], ids=["one second", "a clock put back"])
def test_what_is_made_later_is_the_newer_change(machine: Machine, shell: Shell, ahead: timedelta) -> None:
    """Also in the same second, and where the clock says otherwise: the newest is taken back first, and tells Git's."""
    wanted = inputs(machine, digest="a" * 64)
    SERVICE.create(wanted, quiet)
    made = tree(machine, *PLACES)
    (copy,) = backups(machine)
    at = datetime.now(UTC).replace(microsecond=0) + ahead
    copy.rename(copy.with_name(f"{at:%Y%m%dT%H%M%SZ}-{copy.name.partition('-')[2]}"))
    later = {**with_content(wanted, CONFIG, "port = 1\nmore\n"), "digest": "b" * 64}
    outputs = SERVICE.update("", wanted, later, {}, quiet)
    newest, oldest = changes_on(shell)
    assert (newest.directory, newest.digest, oldest.at) == (outputs["backup"], "b" * 64, at)
    assert read(later).inputs == later
    back_out(shell, newest)
    assert tree(machine, *PLACES) == made
    assert read(wanted).inputs == wanted


def test_only_a_check_is_another_and_that_is_a_change_like_any_other(machine: Machine, shell: Shell) -> None:
    old = inputs(machine, digest="a" * 64)
    _, outputs = SERVICE.create(old, quiet)
    made = tree(machine, *PLACES)
    new = {**old, "digest": "b" * 64, "checks": [{"name": "more", "command": ["grep", "-q", "port = 1", CONFIG]}]}
    assert [each.path for each in differences(SERVICE, old, new)] == ["digest"], "an update is planned"
    later = SERVICE.update("", old, new, outputs, quiet)
    assert later["change"] != outputs["change"]
    assert read(new).inputs == new
    assert SERVICE.update("", new, new, later, quiet) == later, "once"
    bad = {**new, "digest": "c" * 64, "checks": [{"name": "no", "command": ["false"]}]}
    with pytest.raises(UnderstudyError, match="the step `check: no` failed"):
        SERVICE.update("", new, bad, later, quiet)
    assert read(new).inputs == new, "what failed is taken back"
    kept = [change for change in changes_on(shell) if change.state == "kept"]
    back_out(shell, kept[0])
    assert read(new).inputs["digest"] == "a" * 64, "the machine itself knows what it has"
    back_out(shell, kept[1])
    assert read(new).inputs["digest"] == NOTHING
    SERVICE.update("", new, old, {}, quiet)
    assert tree(machine, *PLACES) == made


def test_a_service_that_goes_is_a_change_that_can_be_taken_back(machine: Machine, shell: Shell) -> None:
    first, wanted = tree(machine, *PLACES), inputs(machine, digest="a" * 64)
    SERVICE.create(wanted, quiet)
    made = tree(machine, *PLACES)
    SERVICE.delete("", wanted, {}, quiet)
    assert tree(machine, *PLACES) == first
    newest, oldest = changes_on(shell)
    assert [(each.state, each.digest) for each in (newest, oldest)] == [("kept", NOTHING), ("kept", "a" * 64)]
    assert not (machine.root / "root/configs/web/original").exists(), "it is not ours any more"
    back_out(shell, newest)
    assert tree(machine, *PLACES) == made
    assert read(wanted).inputs == wanted
    SERVICE.delete("", wanted, {}, quiet)
    assert tree(machine, *PLACES) == first, "what was there before us is still remembered"
    assert len(backups(machine)) == 3
    SERVICE.delete("", wanted, {}, quiet)
    assert len(backups(machine)) == 3, "there is nothing left to take away"


def test_a_service_does_not_go_over_what_somebody_else_wrote_meanwhile(machine: Machine) -> None:
    wanted = inputs(machine)
    SERVICE.create(wanted, quiet)
    config = machine.root / CONFIG.lstrip("/")

    def edited(text: str) -> None:
        if "put back what was there" in text:
            config.write_text("by hand\n")

    with pytest.raises(UnderstudyError, match=r"was changed by somebody else meanwhile(.|\n)*The old config.* is back"):
        SERVICE.delete("", wanted, {}, edited)
    assert (backups(machine)[-1] / "found/etc/web/a b.conf").read_text() == "by hand\n"
    assert read(wanted).inputs == wanted


def test_a_service_that_goes_is_written_down_as_it_is_done(machine: Machine, shell: Shell) -> None:
    wanted = inputs(machine, digest="a" * 64)
    SERVICE.create(wanted, quiet)
    goes = going(wanted)
    part = service_part(goes, observe(shell, goes))
    assert part is not None
    assert "/etc/web.d/old: as before us." in part.effect
    assert f"{CONFIG}: removed." in part.effect
    said = list[str]()
    SERVICE.delete("", wanted, {}, said.append)
    assert [line.partition(": ")[2].rpartition(" (")[0] for line in said] == [step.name for step in part.steps]
    assert part.undo[0].prints == "backed out"
    assert observe(shell, goes).digest == NOTHING
    assert service_part(goes, observe(shell, goes)) is None


@pytest.mark.parametrize("wrong", ["directory", "fifo"])
def test_what_is_no_file_is_never_replaced(machine: Machine, wrong: str) -> None:
    path = machine.root / CONFIG.lstrip("/")
    path.parent.mkdir()
    path.mkdir() if wrong == "directory" else os.mkfifo(path)
    with pytest.raises(UnderstudyError, match=rf"m1: {CONFIG}: there is something else: {wrong}"):
        SERVICE.create(inputs(machine), quiet)
    assert not backups(machine)
