"""A probe over real SSH connections: what is found, what is out and why, and that nothing is left behind."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, time
from pathlib import Path

import pytest

from cli.__main__ import main
from model.capacity import CapacityHost, Hours
from model.probe_report import in_lines, in_record
from model.probed import ProbedHost
from model.topology import Access
from provisioners.commands import guest_script
from provisioners.outcome import Result
from provisioners.probe import Prober, connection_of
from provisioners.probe_rate import RateUnknown, mib_per_second
from provisioners.shell import close_all, connect
from tests.doubles.host import BREAKS, COMES_UP, HANGS, Host
from tests.doubles.sshd import keypair
from tests.facts.read_only import is_read_only, noted

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
PRIVATE, PUBLIC = keypair()
OWN_SCRIPTS = ("host_disk", "host_guest", "host_links", "host_receive", "host_send")
GUESTS = """\
Domain: 'stage-db1'
  state.state=1
  balloon.maximum=1048576
  balloon.rss=524288
  vcpu.current=2
  block.count=1
  block.0.path=/srv/db1.qcow2
  block.0.capacity=2147483648
  block.0.physical=1073741824
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def hosts(home: Path) -> Iterator[tuple[Host, ...]]:
    (home / ".ssh").mkdir()
    (home / ".ssh" / "id_ed25519").write_text(PRIVATE)
    (home / ".ssh" / "id_ed25519").chmod(0o600)
    with ExitStack() as stack:
        started = []
        for name in ("desk", "rack", "tower"):
            host = Host(name, guests=GUESTS if name == "desk" else "")
            host.public_key = PUBLIC
            started.append(stack.enter_context(host))
        yield tuple(started)
    close_all()


@pytest.fixture(autouse=True)
def fresh(hosts: tuple[Host, ...], home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The user's own home, in which the hosts are known; connections of an earlier test are forgotten."""
    close_all()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    know(home, *hosts)
    yield
    close_all()


def know(home: Path, *hosts: Host) -> None:
    (home / ".ssh" / "known_hosts").write_text("".join(f"[127.0.0.1]:{each.port} {each.host_key}\n" for each in hosts))


def described(host: Host, **more: object) -> CapacityHost:
    access = Access(host="127.0.0.1", port=host.port)
    return replace(CapacityHost(name=host.name, access=access), **more)  # type: ignore[arg-type]


def prober(tmp_path: Path, *, seconds: float = 20.0) -> Prober:
    kernel = tmp_path / "vmlinuz"
    kernel.write_text("a kernel")
    return Prober(
        directory=tmp_path,
        moment=NOON,
        kernel=lambda: kernel,
        say=lambda _: None,
        guest_seconds=4,
        command_seconds=seconds,
        patience_seconds=1.0,
    )


def probed(tmp_path: Path, host: Host, **more: object) -> ProbedHost:
    return prober(tmp_path).probe(described(host, **more))


def test_what_a_host_has_is_found(tmp_path: Path, hosts: tuple[Host, ...]) -> None:
    found = probed(tmp_path, hosts[0])
    assert found.why_not == ""
    assert found.unread == ()
    assert (found.libvirt, found.hypervisor, found.architecture) == ("9.0.0", "7.2.22", "x86_64")
    assert found.cores > 0
    assert 0 < found.free_memory_mib < found.memory_mib
    assert found.disk_speed is not None
    assert found.disk_speed.write > 0
    assert (found.promised_memory_mib, found.promised_disk_mib) == (512, 1024)
    assert found.accelerator is not None
    assert found.accelerator.kind == "kvm"
    assert found.seconds > 0


def test_nothing_is_changed_and_nothing_is_left(
    tmp_path: Path, hosts: tuple[Host, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    told = noted(monkeypatch)
    for user in ({}, {"access": Access(host="127.0.0.1", port=hosts[0].port, user="admin", sudo=True)}):
        assert prober(tmp_path, seconds=60).probe(described(hosts[0], **user)).usable
    seen = [list(argv) for _, argv in told]
    own = [words for words in seen if any(f"understudy-{name}" in words for name in OWN_SCRIPTS)]
    assert len(own) >= 6
    assert all(any(guest_script(name) in words for name in OWN_SCRIPTS) for words in own)
    assert [words for words in seen if words not in own and not is_read_only(words)] == []
    assert hosts[0].guests_running() == []
    looking = ("find", "/tmp", "/var/lib", "-newer", "/run/sshd", "-name", "*understudy-probe*")
    assert hosts[0].inside(*looking, code=None) == ""  # others' files go meanwhile, of which it complains
    assert [path for path in (hosts[0].root / "tmp").iterdir() if path.name != "sudo-calls"] == []


@pytest.mark.parametrize(
    ("tcg", "kvm", "kind", "said"),
    [
        (COMES_UP.format(1.0), HANGS, "tcg", "did not start under /dev/kvm"),
        (COMES_UP.format(1.0), BREAKS, "tcg", "did not start under /dev/kvm"),
        (HANGS, COMES_UP.format(0.1), "kvm", "did not start without"),
        (BREAKS, BREAKS, "tcg", "nor without"),
    ],
)
def test_hardware_virtualisation_is_tried_there(
    tmp_path: Path, hosts: tuple[Host, ...], tcg: str, kvm: str, kind: str, said: str
) -> None:
    hosts[1].answers("tcg", tcg)
    hosts[1].answers("kvm", kvm)
    found = probed(tmp_path, hosts[1]).accelerator
    assert found is not None
    assert found.kind == kind
    assert said in found.reason
    assert hosts[1].guests_running() == []


def test_a_host_without_a_kernel_is_lent_one(tmp_path: Path, hosts: tuple[Host, ...]) -> None:
    kernel = hosts[2].root / "boot" / "vmlinuz-6.1.0-18-amd64"
    kernel.unlink()
    try:
        found = probed(tmp_path, hosts[2])
        without = replace(prober(tmp_path), kernel=lambda: None).probe(described(hosts[2]))
    finally:
        kernel.write_text("a kernel")
    assert found.accelerator is not None
    assert found.accelerator.kind == "kvm"
    assert without.usable
    assert without.accelerator is not None
    assert "was not tried" in without.accelerator.reason


def out(found: ProbedHost) -> tuple[str, str]:
    assert not found.usable
    (line,) = in_lines([found])
    assert found.why_not in line
    return found.why_not, found.todo


def test_a_host_without_libvirt_gets_the_line_to_type(tmp_path: Path) -> None:
    host = Host("bare")
    host.public_key = PUBLIC
    with host:
        know(Path.home(), host)
        host.inside("rm", "/usr/local/sbin/virsh", "/usr/bin/virsh")
        why_not, todo = out(probed(tmp_path, host))
    assert why_not == "it has no libvirt"
    assert todo.startswith(f"Type: ssh -t -p {host.port} root@127.0.0.1 apt-get install --yes libvirt-daemon-system")


def test_a_libvirt_that_does_not_answer_is_told(tmp_path: Path, hosts: tuple[Host, ...]) -> None:
    hosts[2].answers("slow", "")
    try:
        why_not, todo = out(prober(tmp_path, seconds=1.0).probe(described(hosts[2])))
    finally:
        (hosts[2].root / "etc" / "answers" / "slow").unlink()
    assert why_not == "its libvirt does not answer: no answer within 1 s"
    assert "systemctl enable --now libvirtd" in todo


def test_a_host_on_its_battery_is_out(tmp_path: Path) -> None:
    host = Host("laptop")
    host.public_key = PUBLIC
    with host:
        know(Path.home(), host)
        host.battery()
        assert out(probed(tmp_path, host)) == ("it runs on its battery", "Plug it in.")


def test_by_day_a_host_of_the_night_is_not_even_connected_to(tmp_path: Path, hosts: tuple[Host, ...]) -> None:
    night = Hours(begin=time(22), until=time(6), time_zone="UTC")
    before = len(hosts[0].commands())
    why_not, _ = out(probed(tmp_path, hosts[0], hours=night))
    assert why_not == "to be used only from 22:00 to 06:00 (UTC)"
    assert len(hosts[0].commands()) == before
    assert replace(prober(tmp_path), moment=NOON.replace(hour=23)).probe(described(hosts[0], hours=night)).usable


def test_a_key_that_is_not_the_known_one_is_refused(tmp_path: Path, hosts: tuple[Host, ...]) -> None:
    (tmp_path / "keys").write_text(f"[127.0.0.1]:{hosts[0].port} {hosts[0].host_key}\n")
    found = probed(tmp_path, hosts[0], known_hosts="keys")
    assert (found.usable, found.host_key) == (True, hosts[0].host_key)
    close_all()
    (tmp_path / "keys").write_text(f"[127.0.0.1]:{hosts[0].port} {keypair()[1]}\n")
    before = len(hosts[0].commands())
    why_not, todo = out(probed(tmp_path, hosts[0], known_hosts="keys"))
    assert "host key" in why_not
    assert "Another machine answers" in todo
    assert len(hosts[0].commands()) == before


@pytest.mark.parametrize(("text", "said"), [("", "has no key of"), (None, "No such file")])
def test_a_file_of_keys_that_has_none(tmp_path: Path, hosts: tuple[Host, ...], text: str | None, said: str) -> None:
    if text is not None:
        (tmp_path / "keys").write_text(text)
    assert said in out(probed(tmp_path, hosts[0], known_hosts="keys"))[0]


def test_a_host_that_is_off_does_not_keep_the_others_from_being_probed(
    tmp_path: Path, hosts: tuple[Host, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    together = threading.Barrier(len(hosts), timeout=60)
    facts = Prober._facts_of

    def at_once(*arguments: object) -> ProbedHost:
        together.wait()  # nobody goes on until all are being probed
        return facts(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Prober, "_facts_of", at_once)
    off = CapacityHost(name="off", access=Access(host="127.0.0.1", port=1))
    found = prober(tmp_path).probe_all([described(hosts[0]), off, described(hosts[1]), described(hosts[2])])
    assert [each.usable for each in found] == [True, False, True, True]
    assert "no SSH at 127.0.0.1 port 1" in found[1].why_not
    assert [[link.to for link in each.links] for each in found] == [["rack"], [], ["tower"], ["desk"]]
    assert all(link.milliseconds for each in found for link in each.links)
    assert all(link.mib_per_second for each in found for link in each.links), [each.unread for each in found]


def test_a_host_without_perl_takes_nothing(tmp_path: Path, hosts: tuple[Host, ...]) -> None:
    hosts[1].inside("mv", "/usr/bin/perl", "/usr/bin/perl-away")
    try:
        desk, rack = prober(tmp_path).probe_all([described(hosts[0]), described(hosts[1])])
    finally:
        hosts[1].inside("mv", "/usr/bin/perl-away", "/usr/bin/perl")
    assert [link.mib_per_second for link in desk.links] == [None]
    (unread,) = desk.unread
    assert unread.fact == "how much gets through to rack"
    assert "perl" in unread.reason
    assert (desk.usable, rack.usable) == (True, True)


def test_only_who_knows_the_word_is_listened_to(tmp_path: Path, hosts: tuple[Host, ...]) -> None:
    def stranger(argv: tuple[str, ...], word: bytes) -> Result:
        return prober(tmp_path)._here(argv, b"x" * 32 + b"\n")

    with (
        connect(connection_of(described(hosts[0]), tmp_path), "", lambda _: None, 5.0) as receiver,
        pytest.raises(RateUnknown, match="nothing got through"),
    ):
        mib_per_second(receiver, "127.0.0.1", stranger)


def test_a_disk_that_cannot_be_written_is_told(tmp_path: Path, hosts: tuple[Host, ...]) -> None:
    hosts[1].inside("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", "/var/lib")
    try:
        found = probed(tmp_path, hosts[1])
    finally:
        hosts[1].inside("umount", "/var/lib")
    assert found.disk_speed is None
    assert "speed of the disk" in [unread.fact for unread in found.unread]


def test_the_command_shows_a_table_and_a_record(
    tmp_path: Path, hosts: tuple[Host, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "Pulumi.yaml").write_text("name: x\n")
    lines = [f"  {each.name}: {{host: 127.0.0.1, port: {each.port}}}\n" for each in hosts[:2]]
    cloud = "  rented: {kind: aws, region: eu-central-1, budget_per_month: 200}\n"
    (tmp_path / "Capacity.yaml").write_text("hosts:\n" + "".join(lines) + cloud)
    assert main(["probe", "-C", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert [line.split()[0] for line in printed.splitlines()[:3]] == ["host", "desk", "rack"]
    assert "rented: AWS in eu-central-1, up to 200 a month; not probed" in printed
    assert main(["probe", "desk", "--json", "-C", str(tmp_path)]) == 0
    assert '"libvirt": "9.0.0"' in capsys.readouterr().out
    assert main(["probe", "dask", "-C", str(tmp_path)]) == 1
    assert 'did you mean "desk"?' in capsys.readouterr().err


def test_a_command_that_vanishes_here_is_no_answer(tmp_path: Path) -> None:
    done = replace(prober(tmp_path), command_seconds=0.1)._here(("sleep", "5"))
    assert (done.code, done.stderr) == (124, b"no answer within 0 s")


def test_a_record_has_each_host() -> None:
    gone = ProbedHost(host=CapacityHost(name="off"), why_not="it is off", todo="Switch it on.")
    assert in_record([gone]) == {
        "off": {"usable": False, "why_not": "it is off", "todo": "Switch it on.", "seconds": 0.0}
    }
