"""A template: one machine of an image and a size, booted once, its memory saved. Clones of it wake in seconds.

It lies in a directory of its own, ``templates/<fingerprint>-<build>``, that is never changed once it has its name. A
template that is built again gets another name, so that no linked clone ever stands on a disk that is not the one it was
made from, and no memory meets another's disk.
"""

from __future__ import annotations

import json
import os
import shutil
import time
import uuid
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from fcntl import LOCK_EX, LOCK_NB, flock
from hashlib import sha256
from pathlib import Path

from model.errors import UnderstudyError
from model.libvirt_xml import CardSpec, DomainSpec, domain_xml
from provisioners.hypervisor.cold import memory_digest
from provisioners.hypervisor.host import IMAGES, TEMPLATES, base_disk, locked, processor, read_json, tool, write_whole
from provisioners.hypervisor.identity import ask, identity_message, throwaway_key
from provisioners.hypervisor.old_templates import remove_old_templates
from provisioners.hypervisor.savefile import BadSaveFile
from provisioners.hypervisor.template_memory import (
    SAVED,
    forget_whole,
    is_whole,
    lay_down,
    make_whole_again,
    marks,
    take_ram_out,
)
from provisioners.hypervisor.virsh import Virsh, VirshFailed
from provisioners.outcome import Deadline, Say, Stopped, pause

DATA_DISK_MIB = 64
"""A template's data disk; a clone looks at the size of its own when it wakes."""
_BOOT_SECONDS = 600.0
_WAKE_SECONDS = 90.0
_CLOCK_SECONDS, _CLOCK_ERROR_SECONDS = 3.0, 0.5
_NAME = "understudy-template-"


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateSpec:
    """What machines must have in common to wake from one template.

    Args:
        image: digest of the image in the host's cache.
        accelerator: ``kvm`` or ``tcg``.
        data_disk: whether they have a data disk, of whatever size.
        cmdline: the kernel's command line.
    """

    image: str
    vcpus: int
    memory_mib: int
    accelerator: str
    data_disk: bool
    system_disk_mib: int
    cmdline: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A template that is ready.

    Args:
        key: its name in the cache.
        seconds: how long it took to build.
    """

    key: str
    seconds: float

    @property
    def directory(self) -> Path:
        """Return where it lies."""
        return TEMPLATES / self.key

    @property
    def disk(self) -> Path:
        """Return the disk that its clones are linked to."""
        return self.directory / "disk.qcow2"


def fingerprint(spec: TemplateSpec, versions: str, cpu: str) -> str:
    """Return what names all that a saved memory depends on, in 16 hex digits: the image's very disk and the layout too.

    Args:
        spec: the machines.
        versions: of libvirt and qemu.
        cpu: the host's processor and its features.
    """
    layout = domain_xml(_domain(spec, "template", Path("/"), str(uuid.UUID(int=0))))
    parts = [asdict(spec), base_disk(spec.image).name, versions.split(), cpu, layout]
    return sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def is_present(key: str, virsh: Virsh) -> bool:
    """Return whether a template is there, whole, and fits the present qemu, libvirt and processor."""
    notes = read_json(TEMPLATES / key / "template.json")
    try:
        spec = TemplateSpec(**notes["spec"])
    except (KeyError, TypeError):
        return False
    name = fingerprint(spec, virsh.version(), processor())
    return key.startswith(f"{name}-") and is_whole(TEMPLATES / key, notes.get("memory"))


def found(name: str) -> Template | None:
    """Return the newest finished template of a fingerprint."""
    finished = [path for path in TEMPLATES.glob(f"{name}-*") if (path / "template.json").exists()]
    for path in sorted(finished, key=lambda path: path.stat().st_mtime, reverse=True):
        notes = read_json(path / "template.json")
        template = Template(key=path.name, seconds=float(notes.get("seconds", 0)))
        if template.disk.exists() and is_whole(path, notes.get("memory")):
            return template
    return None


def ensure(spec: TemplateSpec, virsh: Virsh, say: Say) -> Template:
    """Return the template for machines of this kind, building it where there is none.

    Raises:
        UnderstudyError: the image is missing, or the template cannot be built.
        Stopped: the user asked to stop.
    """
    if not base_disk(spec.image).exists():
        raise UnderstudyError(
            where=f"machine image {spec.image}",
            found=f"not in {IMAGES}",
            todo="Run `./run` to make it, then run this again.",
        )
    name = fingerprint(spec, virsh.version(), processor())
    with locked(TEMPLATES / f".{name}.lock", say, "another run builds the same template"):
        template = found(name)
        if template is None:
            remove_old_templates()
            return _build(spec, name, virsh, say)
        (template.directory / "template.json").touch()  # it was asked for today
        return template


def clear_abandoned(virsh: Virsh) -> None:
    """Remove what builds left that were killed; one that is under way holds its lock."""
    for work in TEMPLATES.glob(".building-*"):
        name = work.name.removeprefix(".building-")
        with (TEMPLATES / f".{name}.lock").open("a") as lock, suppress(BlockingIOError):
            flock(lock, LOCK_EX | LOCK_NB)
            _clear(work, virsh, _NAME + name)


def _build(spec: TemplateSpec, name: str, virsh: Virsh, say: Say) -> Template:
    """Build it aside, and give it its name when it is whole and a clone of it was seen to wake."""
    began = Deadline(0)
    domain = _NAME + name
    work = TEMPLATES / f".building-{name}"
    _clear(work, virsh, domain)
    work.mkdir(parents=True)
    try:
        owner = _boot_and_save(spec, domain, work, virsh, say)
        if not _prove_mapped(spec, domain, work, owner, virsh, say):
            _prove(spec, domain, work, virsh, say)
        template = Template(key=f"{name}-{uuid.uuid4().hex[:8]}", seconds=round(began.elapsed, 1))
        notes = {
            "spec": asdict(spec),
            "seconds": template.seconds,
            "memory": marks(work),
            "memory_sha256": memory_digest(work / SAVED),
            "versions": virsh.version().splitlines(),
        }
        write_whole(work / "template.json", json.dumps(notes, indent=2) + "\n", mode=0o644)
        os.sync()
        work.rename(template.directory)
        say(f"template ready after {template.seconds:.0f} s")
        return template
    finally:
        _clear(work, virsh, domain)


def _boot_and_save(spec: TemplateSpec, domain: str, work: Path, virsh: Virsh, say: Say) -> int:
    """Boot it and save its memory; return the number of the user that qemu runs as."""
    size = f"{spec.vcpus} vCPU, {spec.memory_mib} MiB"
    say(f"booting a template machine ({size}); once per image and size, usually 20 to 60 s")
    _clone(base_disk(spec.image), work / "disk.qcow2", spec.system_disk_mib)
    if spec.data_disk:
        tool("qemu-img", "create", "-q", "-f", "qcow2", str(work / "data.qcow2"), f"{DATA_DISK_MIB}M")
    _start(spec, domain, work, virsh)
    _become_template(domain, virsh, say)
    doing = "template: tidying its memory"  # which keeps its kernel at work
    ask(virsh, domain, {"version": 1, "prepare": True}, seconds=120, say=say, doing=doing, resets=False)
    say("template: saving its memory")
    owner = (work / "disk.qcow2").stat().st_uid  # libvirt gives a running machine's disks to it
    virsh.run("save", domain, str(work / SAVED), "--running", timeout_seconds=300)
    return owner


def _become_template(domain: str, virsh: Virsh, say: Say) -> None:
    private, public = throwaway_key()
    nobody = {**_IDENTITY, "authorized_keys": [throwaway_key()[1]]}
    message = identity_message(
        nobody, private_key=private, public_key=public, domain_uuid=str(uuid.uuid4()), template=True
    )
    del message["boot_id"]
    doing = "template: booting"
    ask(virsh, domain, message, seconds=_BOOT_SECONDS, say=say, doing=doing, unborn=True)
    deadline = Deadline(_BOOT_SECONDS)
    while not ask(virsh, domain, {"version": 1, "ping": True}, seconds=_BOOT_SECONDS, say=say, doing=doing).get(
        "ready"
    ):
        if deadline.left <= 0:
            raise UnderstudyError(where=domain, found=f"its boot was not finished after {_BOOT_SECONDS:.0f} s")
        say(f"{doing} ({deadline.elapsed:.0f} s)")
        pause(1.0, domain)


def _prove_mapped(spec: TemplateSpec, domain: str, work: Path, owner: int, virsh: Virsh, say: Say) -> bool:
    """Take the RAM out of its memory, and wake a clone of it; return whether it may stay so."""
    try:
        take_ram_out(work, owner)
    except (BadSaveFile, OSError) as error:
        say(f"template: its memory is copied for each clone: {' '.join(str(error).split())}")
        return False
    try:
        _prove(spec, domain, work, virsh, say)
    except VirshFailed as error:
        say(f"template: its memory is copied for each clone; it cannot be mapped: {error.found}")
        with suppress(VirshFailed):
            virsh.run("destroy", domain)  # where it did wake
        make_whole_again(work)
        return False
    forget_whole(work)
    return True


def _prove(spec: TemplateSpec, domain: str, work: Path, virsh: Virsh, say: Say) -> None:
    """Wake a clone of it once, so that nobody else meets a memory that does not wake."""
    say("template: waking a clone of it, to see that it does")
    trial = work / "trial"
    shutil.rmtree(trial, ignore_errors=True)
    trial.mkdir()
    _clone(work / "disk.qcow2", trial / "disk.qcow2", spec.system_disk_mib)
    if spec.data_disk:
        tool("qemu-img", "create", "-q", "-f", "qcow2", str(trial / "data.qcow2"), f"{DATA_DISK_MIB}M")
    xml = domain_xml(_domain(spec, domain, trial, str(uuid.uuid4())))
    lay_down(work, trial / SAVED, xml)
    virsh.run("restore", str(trial / SAVED), timeout_seconds=_WAKE_SECONDS)
    _compare_clocks(domain, virsh, say)
    virsh.run("destroy", domain)
    shutil.rmtree(trial)
    (work / "data.qcow2").unlink(missing_ok=True)


def _compare_clocks(domain: str, virsh: Virsh, say: Say) -> None:
    """See that the clone's clock runs as the host's: a clock that was measured wrongly at boot wakes in every clone."""

    def look() -> tuple[float, float, float]:
        before = time.time()
        reply = ask(
            virsh, domain, {"version": 1, "ping": True}, seconds=_WAKE_SECONDS, say=say, doing="template: waking"
        )
        if not reply.get("template"):
            raise UnderstudyError(where=domain, found="its clone did not wake but boot")
        return float(reply.get("now") or 0), before, time.time()

    theirs, before, after = look()
    if not theirs:  # an older image
        return
    pause(_CLOCK_SECONDS, domain)
    theirs_later, before_later, after_later = look()
    passed, least, most = theirs_later - theirs, before_later - after, after_later - before
    if not least - _CLOCK_ERROR_SECONDS <= passed <= most + _CLOCK_ERROR_SECONDS:
        raise UnderstudyError(
            where=domain, found=f"its clock went {passed:.1f} s where {least:.1f} to {most:.1f} passed"
        )


def _start(spec: TemplateSpec, domain: str, work: Path, virsh: Virsh) -> None:
    xml = work / "domain.xml"
    write_whole(xml, domain_xml(_domain(spec, domain, work, str(uuid.uuid4()))), mode=0o644)
    virsh.run("create", str(xml))
    xml.unlink()


def _clone(backing: Path, disk: Path, size_mib: int) -> None:
    tool("qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", str(backing), str(disk), f"{size_mib}M")


def _domain(spec: TemplateSpec, name: str, directory: Path, identifier: str) -> DomainSpec:
    """Return the template's own machine: its cables end nowhere, and libvirt forgets it when it ends."""
    image = IMAGES / spec.image
    card = CardSpec(network="", mac="52:54:00:00:00:01")
    return DomainSpec(
        name=name,
        uuid=identifier,
        vcpus=spec.vcpus,
        memory_mib=spec.memory_mib,
        kernel=str(image / "vmlinuz"),
        initrd=str(image / "initrd.img"),
        cmdline=spec.cmdline,
        system_disk=str(directory / "disk.qcow2"),
        data_disk=str(directory / "data.qcow2") if spec.data_disk else "",
        control=card,
        mirror=replace(card, mac="52:54:00:00:00:02"),
        accelerator=spec.accelerator,
    )


def _clear(work: Path, virsh: Virsh, domain: str) -> None:
    """Remove what an earlier build left when it was cut off."""
    with suppress(VirshFailed, Stopped):
        virsh.run("destroy", domain)
    shutil.rmtree(work, ignore_errors=True)


_IDENTITY = {
    "hostname": "template",
    "domain": "",
    "hosts": [{"address": "192.0.2.1", "names": ["template"]}],
    "cards": {
        "control": {"mac": "52:54:00:00:00:01", "address": "192.0.2.1", "prefix": 24},
        "mirror": {"mac": "52:54:00:00:00:02", "address": "198.51.100.1", "prefix": 24},
    },
}
