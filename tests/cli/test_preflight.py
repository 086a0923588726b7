"""`understudy preflight`: faults before anything is made, the lock file where it is missing, and what a kill left."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest

from cli import preflight
from cli.__main__ import main
from cli.files import load_environment, read_lock
from cli.pins import newest_pins
from cli.pulumi_state import PulumiState
from images.own import OwnImagePaths
from model.errors import UnderstudyError
from model.placement import HERE, Accelerator, OwnImage, PlacedMachine, Placement
from model.state import Recorded
from provisioners import this_computer

ROOT = Path(__file__).parents[2]
URN = "urn:pulumi:{stack}::understudy::libvirt:index/{kind}::{name}"


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with what Pulumi keeps of empty stacks `prod` and `stage`, made by the real one."""
    if shutil.which("pulumi") is None:
        pytest.fail("pulumi is not on PATH: run the tests with ./run pytest")
    whole = tmp_path_factory.mktemp("begun")
    (whole / "Pulumi.yaml").write_text("name: understudy\nruntime: python\n")
    (whole / "state").mkdir()
    with pytest.MonkeyPatch.context() as patched:
        use(whole, patched)
        for stack in ("prod", "stage"):
            pulumi(whole, "stack", "init", stack, "--no-select")
    return whole


@pytest.fixture
def backend(begun: Path, nothing_to_build: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the directory of a backend of a test's own, with those stacks."""
    for name in ("state", "home"):
        shutil.copytree(begun / name, tmp_path / name)
    use(tmp_path, monkeypatch)
    for stack in ("prod", "stage"):
        file = nothing_to_build / f"Pulumi.{stack}.yaml"
        text = "".join(line for line in file.read_text().splitlines(keepends=True) if "encryptionsalt" not in line)
        file.write_text(text, encoding="utf-8")
    monkeypatch.setenv("PULUMI_FALLBACK_TO_STATE_SECRETS_MANAGER", "true")
    return tmp_path / "state"


def use(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Pulumi keep there what it keeps."""
    monkeypatch.setenv("PULUMI_BACKEND_URL", f"file://{whole}/state")
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "test")
    monkeypatch.setenv("PULUMI_HOME", str(whole / "home"))
    monkeypatch.delenv("PULUMI_CONFIG_PASSPHRASE_FILE", raising=False)


def pulumi(directory: Path, *arguments: str) -> str:
    command = ["pulumi", "--cwd", str(directory), "--non-interactive", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def interrupt(backend: Path, stack: str) -> None:
    """Write what a killed Pulumi leaves: a domain that is known, and one that was being created."""
    path = backend / ".pulumi" / "stacks" / "understudy" / f"{stack}.json"
    state = json.loads(path.read_text(encoding="utf-8"))
    known, unknown = (resource(stack, name) for name in ("db1", "lb"))
    state["checkpoint"]["latest"] |= {
        "resources": [known],
        "pending_operations": [{"resource": unknown, "type": "creating"}],
    }
    path.write_text(json.dumps(state), encoding="utf-8")


def resource(stack: str, name: str) -> dict[str, Any]:
    kind = "domain:Domain"
    return {
        "urn": URN.format(stack=stack, kind=kind, name=name),
        "custom": True,
        "type": f"libvirt:index/{kind}",
        "id": f"{stack}-{name}",
        "inputs": {"name": f"{stack}-{name}"},
        "outputs": {"name": f"{stack}-{name}"},
    }


Swept = list[tuple[str, str, Recorded, bool]]


@pytest.fixture
def swept(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Swept]:
    """Stand in for the host, on which these objects lie."""

    def lying(*left_over: str) -> Swept:
        calls: Swept = []

        def sweep(stack: str, owner: str, known: Recorded, say: object, *, act: bool) -> tuple[str, ...]:
            calls.append((stack, owner, known, act))
            return left_over

        monkeypatch.setattr("provisioners.hypervisor.sweep.sweep", sweep)
        return calls

    return lying


def run(directory: Path, stack: str, verb: str) -> int:
    return main(["preflight", "--stack", stack, "--cwd", str(directory), verb])


def exported(directory: Path, stack: str) -> dict[str, Any]:
    state: dict[str, Any] = json.loads(pulumi(directory, "stack", "export", "--stack", stack))["deployment"]
    return state


def test_faults_end_it_before_anything_is_made(nothing_to_build: Path, tmp_path: Path) -> None:
    file = nothing_to_build / "Pulumi.prod.yaml"
    file.write_text(file.read_text().replace("vcpus: 1", "vcpus: 0").replace("10.20.0.31", "10.20.0.255"))
    before = sorted(path for path in tmp_path.rglob("*"))
    command = [sys.executable, "-m", "cli", "preflight", "--stack", "prod", "--cwd", str(nothing_to_build), "preview"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert [line.partition(" found")[0] for line in done.stderr.splitlines()] == [
        "understudy preflight: Pulumi.prod.yaml: machines.lb.vcpus:",
        "Pulumi.prod.yaml: machines.app1.vcpus:",
        "Pulumi.prod.yaml: machines.db1.address:",
    ]
    assert sorted(path for path in tmp_path.rglob("*")) == before


def test_the_lock_file_is_made_once(nothing_to_build: Path, backend: Path, swept: Callable[..., Swept]) -> None:
    swept()
    assert run(nothing_to_build, "prod", "up") == 0
    path = nothing_to_build / "Placement.prod.lock.yaml"
    first = (path.read_bytes(), path.stat().st_mtime_ns)
    assert run(nothing_to_build, "prod", "up") == 0
    assert (path.read_bytes(), path.stat().st_mtime_ns) == first


def test_a_preview_places_and_clears_nothing(
    nothing_to_build: Path, backend: Path, swept: Callable[..., Swept]
) -> None:
    interrupt(backend, "prod")
    calls = swept("domain prod-lb")
    assert run(nothing_to_build, "prod", "preview") == 0
    assert read_lock(nothing_to_build, "prod") is not None
    assert calls == []
    assert "pending_operations" in exported(nothing_to_build, "prod")


def test_a_machine_that_existed_is_not_built_beside_itself(
    nothing_to_build: Path, backend: Path, swept: Callable[..., Swept], capsys: pytest.CaptureFixture[str]
) -> None:
    """Somebody dropped `existing` from its description; only the state still knows that it was there before us."""
    calls = swept()
    path = backend / ".pulumi" / "stacks" / "understudy" / "prod.json"
    state = json.loads(path.read_text(encoding="utf-8"))
    outputs = {"machines": {"db1": {"address": "10.20.0.31", "existing": "left alone"}, "lb": {"started": "warm"}}}
    urn = "urn:pulumi:prod::understudy::pulumi:pulumi:Stack::understudy-prod"
    known = {"urn": urn, "custom": False, "type": "pulumi:pulumi:Stack", "outputs": outputs}
    state["checkpoint"]["latest"] |= {"resources": [known]}
    path.write_text(json.dumps(state), encoding="utf-8")
    assert run(nothing_to_build, "prod", "up") == 0
    lock = (nothing_to_build / "Placement.prod.lock.yaml").read_bytes()
    file = nothing_to_build / "Pulumi.prod.yaml"
    file.write_text(file.read_text().replace(", existing: true", ""))
    assert run(nothing_to_build, "prod", "up") == 1
    said = capsys.readouterr().err
    assert "Pulumi.prod.yaml: machines.db1: no `existing` any more, but db1 existed at the last `up`" in said
    assert (nothing_to_build / "Placement.prod.lock.yaml").read_bytes() == lock
    assert len(calls) == 1


@pytest.mark.parametrize("verb", ["destroy", "refresh"])
def test_a_mirror_is_cleared_though_its_files_have_faults(
    nothing_to_build: Path,
    backend: Path,
    swept: Callable[..., Swept],
    capsys: pytest.CaptureFixture[str],
    verb: str,
) -> None:
    (nothing_to_build / "Pulumi.prod.yaml").write_text("config: {}\n")
    interrupt(backend, "stage")
    calls = swept("domain stage-lb")
    assert run(nothing_to_build, "stage", verb) == 0
    ((stack, owner, known, act),) = calls
    assert (stack, act) == ("stage", True)
    assert owner.startswith("understudy/stage/")
    assert known.domains == {"stage-db1"}
    told = capsys.readouterr().err
    assert "removed domain stage-lb: a run that was killed had left it" in told
    assert "creating lb" in told
    state = exported(nothing_to_build, "stage")
    assert "pending_operations" not in state
    assert [each["id"] for each in state["resources"]] == ["stage-db1"]


def test_a_stack_with_a_gate_does_not_become_a_mirror(
    nothing_to_build: Path, backend: Path, swept: Callable[..., Swept], capsys: pytest.CaptureFixture[str]
) -> None:
    swept()
    path = backend / ".pulumi" / "stacks" / "understudy" / "stage.json"
    state = json.loads(path.read_text(encoding="utf-8"))
    kind = "understudy:index:Gate"
    gate = {"urn": f"urn:pulumi:stage::understudy::{kind}::gate", "custom": True, "type": kind, "id": "gate"}
    state["checkpoint"]["latest"] |= {"resources": [gate]}
    path.write_text(json.dumps(state), encoding="utf-8")
    assert run(nothing_to_build, "stage", "up") == 1
    assert "understudy:mirror: a stack that has a gate: its state has it" in capsys.readouterr().err
    assert run(nothing_to_build, "stage", "refresh") == 0


def test_prods_left_overs_are_only_named(
    nothing_to_build: Path, backend: Path, swept: Callable[..., Swept], capsys: pytest.CaptureFixture[str]
) -> None:
    interrupt(backend, "prod")
    calls = swept("domain prod-lb")
    assert run(nothing_to_build, "prod", "up") == 0
    assert [act for *_, act in calls] == [False]
    told = capsys.readouterr().err
    assert "found domain prod-lb" in told
    assert "by hand" in told
    assert len(exported(nothing_to_build, "prod")["pending_operations"]) == 1


def test_what_was_cut_off_on_prod_is_done_again_where_nothing_is_left(
    nothing_to_build: Path, backend: Path, swept: Callable[..., Swept]
) -> None:
    interrupt(backend, "prod")
    swept()
    assert run(nothing_to_build, "prod", "up") == 0
    assert "pending_operations" not in exported(nothing_to_build, "prod")


def test_the_owners_mark_tells_backends_apart(
    nothing_to_build: Path, backend: Path, swept: Callable[..., Swept], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = swept()
    run(nothing_to_build, "stage", "destroy")
    shutil.copytree(backend, backend.with_name("copy"))
    monkeypatch.setenv("PULUMI_BACKEND_URL", f"file://{backend.with_name('copy')}")
    run(nothing_to_build, "stage", "destroy")
    (backend.with_name("copy") / "understudy-id").write_text("0123456789abcdef\n")
    run(nothing_to_build, "stage", "destroy")
    assert len({owner for _, owner, *_ in calls}) == 3, "the same path on another computer"


def test_a_timer_that_would_build_it_again_is_named(
    nothing_to_build: Path,
    backend: Path,
    swept: Callable[..., Swept],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    swept()
    monkeypatch.setattr("cli.drill_timer.UNITS", nothing_to_build)
    run(nothing_to_build, "stage", "destroy")
    assert "drill" not in capsys.readouterr().err
    (nothing_to_build / "understudy-drill-stage.timer").touch()
    run(nothing_to_build, "stage", "destroy")
    assert "./run understudy drill --remove -s stage" in capsys.readouterr().err


def test_pulumis_refusal_is_told(nothing_to_build: Path, backend: Path) -> None:
    with PulumiState(nothing_to_build, "nowhere") as state, pytest.raises(UnderstudyError, match="no stack named"):
        _ = state.exported


def test_without_pulumi(nothing_to_build: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(nothing_to_build))
    with pytest.raises(UnderstudyError, match="no such command"), PulumiState(nothing_to_build, "stage", secrets=True):
        pass


@pytest.mark.parametrize("how", ["as it is", "of another version", "cut short", "gone"])
def test_a_state_is_read_as_pulumi_exports_it(
    nothing_to_build: Path, backend: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    interrupt(backend, "stage")
    wanted = exported(nothing_to_build, "stage")
    (file,) = backend.glob(".pulumi/stacks/*/stage.json")
    text = file.read_text()
    match how:
        case "of another version":
            file.write_text(json.dumps({**json.loads(text), "version": 4}))
        case "cut short":
            file.write_text(text[:-20])
        case "gone":
            file.unlink()
    asked: list[str] = []
    popen = subprocess.Popen

    def noting(command: Any, *arguments: Any, **more: Any) -> Any:
        asked.append(command[0])
        return popen(command, *arguments, **more)

    monkeypatch.setattr("cli.pulumi_state.subprocess.Popen", noting)
    with PulumiState(nothing_to_build, "stage") as state:
        if how == "as it is":
            assert state.exported["deployment"] == wanted
        else:
            with suppress(UnderstudyError):  # what Pulumi says of such a file is Pulumi's
                _ = state.exported
    assert asked == ([] if how == "as it is" else ["pulumi"])


def test_an_export_that_nobody_reads_is_ended(nothing_to_build: Path, backend: Path) -> None:
    with PulumiState(nothing_to_build, "stage", secrets=True) as state:
        pass
    assert state._export is not None
    assert state._export.returncode is not None


def test_a_network_that_came_later_is_told(nothing_to_build: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(this_computer, "networks", lambda: ())
    assert run(nothing_to_build, "prod", "preview") == 0
    placement = read_lock(nothing_to_build, "prod")
    assert placement is not None
    found = (("us000000c", IPv4Network("198.18.0.0/15")),)
    monkeypatch.setattr(this_computer, "networks", lambda: found)
    with pytest.raises(UnderstudyError, match="place --again -s prod"):
        preflight._refuse_foreign_network(placement, "prod")


KVM = Accelerator(kind="kvm", reason="a guest started in 0.5 s under /dev/kvm, and took 4.0 s without")
TCG = Accelerator(kind="tcg", reason="a guest did not start under /dev/kvm in 4.0 s, and did in 4.0 s without")


def prepare(project: Path, monkeypatch: pytest.MonkeyPatch, *, locked: Accelerator, here: Accelerator) -> None:
    """Let a stage whose lock file has the one be prepared on a computer that has the other."""
    network = IPv4Network("198.18.7.0/24")
    lb = PlacedMachine(name="lb", host=HERE, control_address=network[10])
    placement = Placement(control_network=network, accelerator=locked, image="ab" * 6, machines=(lb,))
    monkeypatch.setattr(preflight, "ensure_placed", lambda *_: placement)
    monkeypatch.setattr(preflight, "ensure_image", lambda *_: None)
    monkeypatch.setattr(this_computer, "networks", lambda: ())
    monkeypatch.setattr("provisioners.hypervisor.accelerator.choose", lambda kernel, say: here)
    preflight._prepare(project, "stage", "up", None)


def test_hardware_virtualisation_that_this_computer_lacks_is_told_before_anything_is_made(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock file is in Git, and was written on a computer that has it."""
    with pytest.raises(UnderstudyError) as caught:
        prepare(project, monkeypatch, locked=KVM, here=TCG)
    said = str(caught.value)
    assert said.startswith(f"Placement.stage.lock.yaml: accelerator.kind: kvm, and on this computer {TCG.reason}")
    assert "`./run understudy place --again -s stage`" in said


def test_hardware_virtualisation_that_is_not_used_is_only_said(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for same in (KVM, TCG):
        prepare(project, monkeypatch, locked=same, here=same)
    assert capsys.readouterr().err == ""
    prepare(project, monkeypatch, locked=TCG, here=KVM)
    (line,) = capsys.readouterr().err.splitlines()
    assert KVM.reason in line
    assert "`./run understudy place --again -s stage`" in line


def test_a_preview_times_no_guest(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> Accelerator:
        raise AssertionError

    with pytest.raises(UnderstudyError):
        prepare(project, monkeypatch, locked=KVM, here=TCG)
    monkeypatch.setattr("provisioners.hypervisor.accelerator.choose", never)
    preflight._prepare(project, "stage", "preview", None)


def test_a_pin_that_its_backups_no_longer_have_is_told_before_anything_is_made() -> None:
    """Unless the store was filled from it: then nobody needs it any more."""
    environment = load_environment(ROOT, "stage")
    (pin,) = newest_pins(ROOT, environment, ())
    gone = replace(pin, snapshot="20200101-000000F")
    tcg = Accelerator(kind="tcg", reason="tests")
    lock = Placement(control_network=IPv4Network("10.9.0.0/24"), image="", accelerator=tcg, machines=(), seeds=(pin,))
    preflight._refuse_gone_pins(ROOT, "stage", "up", lock, {})
    with pytest.raises(UnderstudyError) as caught:
        preflight._refuse_gone_pins(ROOT, "stage", "up", replace(lock, seeds=(gone,)), {})
    said = str(caught.value)
    assert said.startswith("Placement.stage.lock.yaml: seeds.shop: snapshot 20200101-000000F, which is no longer in")
    assert "`./run understudy seed --newest --store shop -s stage`" in said
    inputs = {"store": "shop", "snapshot": gone.snapshot, "snapshot_digest": gone.repository_digest, "drilled_at": ""}
    filled = {"deployment": {"resources": [{"type": "understudy:index:PostgresPrimary", "inputs": inputs}]}}
    preflight._refuse_gone_pins(ROOT, "stage", "up", replace(lock, seeds=(gone,)), filled)


def test_without_a_verb_it_only_checks(nothing_to_build: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["preflight", "-s", "stage", "-C", str(nothing_to_build)]) == 1
    assert "services/app/service.yaml: the file: found no such file" in capsys.readouterr().err
    shutil.rmtree(nothing_to_build / "services")
    assert main(["preflight", "-s", "stage", "-C", str(nothing_to_build)]) == 0
    assert "no faults" in capsys.readouterr().out
    assert not list(nothing_to_build.glob("Placement.*"))


# An image of the user's own that is not on this computer any more


OWN = OwnImagePaths(digest="aa" * 32, disk=Path("disk.qcow2"), disk_mib=3000)


@pytest.fixture
def own_placement() -> Placement:
    return Placement(
        control_network=IPv4Network("198.18.7.0/24"),
        accelerator=Accelerator(kind="tcg", reason="tests"),
        image=OWN.digest,
        own_image=OwnImage(source="mine.qcow2", disk_mib=OWN.disk_mib),
        machines=(),
    )


def bringing(monkeypatch: pytest.MonkeyPatch, digest: str) -> list[object]:
    asked: list[object] = []

    def bring(*given: object) -> OwnImagePaths:
        asked.append(given[:3])
        return replace(OWN, digest=digest)

    monkeypatch.setattr("images.own.bring", bring)
    return asked


def test_an_image_that_is_here_is_not_asked_for(
    own_placement: Placement, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = bringing(monkeypatch, "bb" * 32)
    monkeypatch.setattr("images.own.usable", lambda digest: OWN)
    preflight.ensure_image(tmp_path, own_placement, "stage")
    assert asked == []


def test_an_image_that_is_missing_is_brought_again(
    own_placement: Placement, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = bringing(monkeypatch, OWN.digest)
    monkeypatch.setattr("images.own.usable", lambda digest: "missing")
    preflight.ensure_image(tmp_path, own_placement, "stage")
    assert asked == [("mine.qcow2", tmp_path, 3000)]
    assert "image aaaaaaaaaaaa: missing; taking it from mine.qcow2" in capsys.readouterr().err


def test_an_image_that_is_another_by_now_is_not_taken(
    own_placement: Placement, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bringing(monkeypatch, "bb" * 32)
    monkeypatch.setattr("images.own.usable", lambda digest: "missing")
    with pytest.raises(UnderstudyError, match="place --image -s stage"):
        preflight.ensure_image(tmp_path, own_placement, "stage")
