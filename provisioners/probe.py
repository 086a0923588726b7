"""Finds out what hosts have, all of them side by side, over SSH or here; nothing on them is changed."""

from __future__ import annotations

import math
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Protocol

from model.capacity import ARCHITECTURES, CapacityHost
from model.connection import Connection, way_by
from model.errors import UnderstudyError
from model.facts import Unread
from model.names import ROOT
from model.placed_hosts import Accelerator
from model.probed import Link, ProbedHost, ways_to_measure
from model.topology import Access
from provisioners.commands import privileged, scripted
from provisioners.facts import host as facts
from provisioners.facts import processors, system
from provisioners.facts.ask import Asking, complete
from provisioners.facts.fact import ROOT as AS_ROOT
from provisioners.facts.fact import Fact
from provisioners.facts.gather import Questions
from provisioners.hypervisor import accelerator
from provisioners.install_lines import install_line, start_line
from provisioners.outcome import CommandFailed, Deadline, Result, Say
from provisioners.probe_rate import mib_per_second
from provisioners.shell import Shell, connect, known_key

PATIENCE_SECONDS = 15.0
_GUEST_SECONDS = 20
_DISK_SECONDS = 3
_AT_ONCE = 64
_ROOT, _PARENT = str(ROOT), "/var/lib"
_LOCAL = Access(host="localhost")
NO_KERNEL = "hardware virtualisation was not tried, since there is no kernel to try it with; `./run` makes one"


class Door(Protocol):
    """Runs a command on a host, whatever its exit code."""

    def __call__(self, argv: Sequence[str], stdin: bytes = b"", more_seconds: float = 0) -> Result:
        """Run it and return what it printed; one that takes longer is ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prober:
    """What a probe needs to know.

    Args:
        directory: the project's: files of host keys are named from there.
        moment: now.
        kernel: gives the path of a kernel of this computer, for guests of hosts that have none; None for none.
        say: is told what is done.
        guest_seconds: how long a tiny guest may take.
        disk_mib: how much is written to its disk and read back, MiB, a multiple of 8.
        command_seconds: how long any other command may take.
        patience_seconds: how long a host may take until it answers.
    """

    directory: Path
    moment: datetime
    kernel: Callable[[], Path | None]
    say: Say
    guest_seconds: int = _GUEST_SECONDS
    disk_mib: int = 64
    command_seconds: float = 30.0
    patience_seconds: float = PATIENCE_SECONDS

    def probe_all(self, hosts: Iterable[CapacityHost]) -> tuple[ProbedHost, ...]:
        """Return what was found on each host, in their order, and on the ways between those that can be used.

        What gets through between two hosts is measured once both are probed, while slower ones still are: nobody waits
        for all.
        """
        hosts = tuple(hosts)
        reached = {host.name: host for host in hosts if host.access is not None}
        ways = ways_to_measure(tuple(reached))
        others = {host.name: tuple(reached[name] for name in ways.get(host.name, reached)) for host in hosts}
        probed: dict[str, ProbedHost] = {}
        rated: dict[str, Future[ProbedHost]] = {}
        with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
            for done in as_completed([pool.submit(self.probe, host, others[host.name]) for host in hosts]):
                found = done.result()
                probed[found.host.name] = found
                for each in [probed[name] for name in probed.keys() - rated.keys()]:
                    if all(way.to in probed for way in each.links):
                        links = tuple(way for way in each.links if probed[way.to].usable)
                        rated[each.host.name] = pool.submit(self._with_rate, replace(each, links=links), reached)
        return tuple(rated[host.name].result() for host in hosts)

    def probe(self, host: CapacityHost, others: Sequence[CapacityHost] = ()) -> ProbedHost:
        """Return what was found on one host, and on its ways to some others; where it cannot be used, why."""
        if host.is_cloud:
            return ProbedHost(host=host, architecture=ARCHITECTURES[0])
        if host.hours is not None and not host.hours.include(self.moment):
            return ProbedHost(host=host, why_not=f"to be used only from {host.hours}", todo="Try again then.")
        taken = Deadline(0)
        try:
            found = self._probe(host, others)
        except UnderstudyError as error:
            found = ProbedHost(host=host, why_not=_reason(error), todo=error.todo)
        outcome = "probed" if found.usable else f"out: {found.why_not}"
        self.say(f"{host.name}: {outcome} ({taken.elapsed:.1f} s)")
        return replace(found, seconds=taken.elapsed)

    def _probe(self, host: CapacityHost, others: Sequence[CapacityHost]) -> ProbedHost:
        self.say(f"{host.name}: probing ...")
        if host.access is None:
            return self._facts_of(host, others, _LOCAL, self._here)
        connection = connection_of(host, self.directory)
        with self._connected(host) as shell, shell.steady() as told:  # a session for each question costs more than most
            found = self._facts_of(host, others, host.access, self._there(told))
        return replace(found, host_key=connection.host_key)

    def _facts_of(self, host: CapacityHost, others: Sequence[CapacityHost], access: Access, door: Door) -> ProbedHost:
        questions = Questions(Asking(access, door).answer)
        found = _facts(host, access, questions)
        if not found.usable:
            return replace(found, unread=tuple(questions.unread))
        # It takes longest, and its time is each host's own: what follows is then not asked of all at the same moment.
        chosen = self._accelerator(host, access, door, questions)
        directory = _ROOT if questions.ask(facts.filesystem(_ROOT), None, quiet=True) else _PARENT
        argv = scripted("host_disk", directory, str(self.disk_mib), str(_DISK_SECONDS))
        speed = questions.ask(
            Fact(name="speed of the disk", argv=argv, parse=facts.parse_disk_speed, user=AS_ROOT), None
        )
        ways = questions.ask(_ways_to(others), {}) if others else {}
        return replace(
            found,
            disk_speed=speed,
            links=tuple(Link(to=name, milliseconds=took) for name, took in ways.items()),
            accelerator=chosen,
            unread=tuple(questions.unread),
        )

    def _with_rate(self, probed: ProbedHost, reached: Mapping[str, CapacityHost]) -> ProbedHost:
        """Measure what gets through on one of a host's ways: so each host sends once and takes once."""
        way = next((link for link in probed.links if link.milliseconds is not None), None)
        other = reached[way.to] if way else None
        if way is None or other is None or other.access is None:
            return probed
        try:
            with self._connected(other) as receiver:
                if probed.host.access is None:
                    rate = mib_per_second(receiver, other.access.host, self._here)
                else:
                    with self._connected(probed.host) as sender:
                        rate = mib_per_second(receiver, other.access.host, self._there(sender))
        except (UnderstudyError, ValueError) as error:
            reason = _reason(error) if isinstance(error, UnderstudyError) else str(error)
            unread = Unread(fact=f"how much gets through to {way.to}", reason=reason)
            return replace(probed, unread=(*probed.unread, unread))
        links = (replace(link, mib_per_second=rate) if link is way else link for link in probed.links)
        return replace(probed, links=tuple(links))

    def _connected(self, host: CapacityHost) -> AbstractContextManager[Shell]:
        return connect(connection_of(host, self.directory), "", lambda _: None, self.patience_seconds)

    def _accelerator(self, host: CapacityHost, access: Access, door: Door, questions: Questions) -> Accelerator:
        """Time a tiny guest with hardware virtualisation and without; here, once a boot."""
        own = self.kernel()
        if host.access is None:
            return accelerator.choose(lambda: own, self.say) if own else Accelerator(kind="tcg", reason=NO_KERNEL)
        if not questions.ask(facts.KVM, default=False, quiet=True):
            return Accelerator(kind="tcg", reason="it has no /dev/kvm, so processors are emulated")
        kernels = questions.ask(facts.KERNELS, (), quiet=True)
        kernel, content = (kernels[-1], b"") if kernels else ("-", own.read_bytes() if own else b"")
        if kernel == "-" and not content:
            return Accelerator(kind="tcg", reason=NO_KERNEL)

        def seconds(way: str, limit: float) -> float | None:
            words = accelerator.qemu_arguments(Path("kernel"), way, Path("console"))
            argv = scripted("host_guest", str(math.ceil(limit)), kernel, *words)
            sudo = access.sudo and access.user != AS_ROOT
            done = door(complete(privileged(argv, sudo=sudo)), content, limit)
            try:
                return facts.parse_started(done.text + "\n")
            except ValueError:
                questions.unread.append(Unread(fact=f"a guest under {way}", reason=_said(done)))
                return None

        emulated = seconds("tcg", self.guest_seconds)
        limit = self.guest_seconds if emulated is None else emulated
        return accelerator.decide(emulated, seconds("kvm", limit), limit)

    def _here(self, argv: Sequence[str], stdin: bytes = b"", more_seconds: float = 0) -> Result:
        seconds = self.command_seconds + more_seconds
        try:
            done = subprocess.run(argv, input=stdin, capture_output=True, timeout=seconds, check=False)
        except subprocess.TimeoutExpired:
            return _no_answer(argv, seconds)
        return Result(argv=tuple(argv), stdout=done.stdout, stderr=done.stderr, code=done.returncode)

    def _there(self, shell: Shell) -> Door:
        def run(argv: Sequence[str], stdin: bytes = b"", more_seconds: float = 0) -> Result:
            seconds = self.command_seconds + more_seconds
            try:
                return shell.run(argv, stdin=stdin, check=False, timeout_seconds=seconds)
            except CommandFailed:
                return _no_answer(argv, seconds)

        return run


def _ways_to(others: Sequence[CapacityHost]) -> Fact[dict[str, float | None]]:
    reached = [(host.name, host.access) for host in others if host.access is not None]
    words = [word for name, access in reached for word in (name, access.host, str(access.port))]
    return Fact(name="network", argv=scripted("host_links", *words), parse=facts.parse_links)


def _no_answer(argv: Sequence[str], seconds: float) -> Result:
    return Result(argv=tuple(argv), stdout=b"", stderr=f"no answer within {seconds:.0f} s".encode(), code=124)


def connection_of(host: CapacityHost, directory: Path) -> Connection:
    """Return how a host is reached; commands run as who logs in, and say themselves which of them need sudo.

    Raises:
        UnderstudyError: the file of its host key cannot be read, or has none for it.
    """
    assert host.access is not None
    plain = replace(way_by(host.name, host.access), sudo=False)
    return replace(plain, host_key=known_key(directory / host.known_hosts, plain)) if host.known_hosts else plain


def _facts(host: CapacityHost, access: Access, questions: Questions) -> ProbedHost:
    """Ask what decides whether a host can be used; the load first, before the probe adds to it."""
    load = questions.ask(facts.LOAD, None)
    battery = questions.ask(facts.POWER, default=False)
    kernel = questions.ask(system.KERNEL, None)
    cores = questions.ask(processors.PROCESSORS, None)
    memory = questions.ask(facts.MEMORY, None)
    room = questions.ask(facts.filesystem(_ROOT), None, quiet=True) or questions.ask(facts.filesystem(_PARENT), None)
    if load is None or kernel is None or cores is None or memory is None or room is None:
        unread = questions.unread[0]
        return ProbedHost(host=host, why_not=f"could not be read: {unread.fact}: {unread.reason}")
    found = ProbedHost(
        host=host,
        architecture=kernel[1],
        cores=cores,
        load=load,
        memory_mib=memory[0],
        free_memory_mib=memory[1],
        disk_mib=room[0],
        free_disk_mib=room[1],
        on_battery=battery,
    )
    if found.architecture not in ARCHITECTURES:
        return replace(found, why_not=f"its processors are {found.architecture}; wanted {' or '.join(ARCHITECTURES)}")
    if battery:
        return replace(found, why_not="it runs on its battery", todo="Plug it in.")
    return _with_libvirt(found, access, questions)


def _with_libvirt(found: ProbedHost, access: Access, questions: Questions) -> ProbedHost:
    versions = questions.ask(facts.VERSIONS, None)
    guests = questions.ask(facts.GUESTS, None) if versions else None
    if versions is not None and guests is not None:
        return replace(found, libvirt=versions[0], hypervisor=versions[1], guests=guests)
    reason = questions.unread[-1].reason
    release = questions.ask(system.RELEASE, "", quiet=True)
    if "No such file or directory" in reason and "virsh" in reason:
        line = install_line(release, found.architecture, access, local=found.host.access is None)
        return replace(found, why_not="it has no libvirt", todo=f"Type: {line}")
    line = start_line(access, local=found.host.access is None)
    return replace(found, why_not=f"its libvirt does not answer: {reason}", todo=f"Try: {line}")


def _said(done: Result) -> str:
    lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
    return lines[-1][:300] if lines else f"ended with {done.code}"


def _reason(error: UnderstudyError) -> str:
    return f"{error.found}{f'; wanted {error.wanted}' if error.wanted else ''}".splitlines()[0]
