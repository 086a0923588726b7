"""The guest's identity program: what it writes, and what it refuses. Run here, without a machine."""

from __future__ import annotations

import base64
import ipaddress
import json
import os
import signal
import stat
import subprocess
import time
import uuid
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provisioners.hypervisor.identity import identity_message
from tests.images.guest import GUEST, PRIVATE, PUBLIC, answer, answers, identity, perl, scratch_root

FILES = {
    "etc/hostname": 0o644,
    "etc/hosts": 0o644,
    "etc/machine-id": 0o444,
    "etc/ssh/ssh_host_ed25519_key": 0o600,
    "etc/ssh/ssh_host_ed25519_key.pub": 0o644,
    "root/.ssh/authorized_keys": 0o600,
    "etc/understudy/identity.json": 0o600,
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return scratch_root(tmp_path / "root")


def written(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "path", [GUEST / "init.pl", *sorted(GUEST.glob("Understudy/*.pm"))], ids=lambda path: path.name
)
def test_compiles_without_a_warning(path: Path) -> None:
    done = subprocess.run(("perl", "-wc", f"-I{GUEST}", path), capture_output=True, text=True, check=True)
    assert done.stderr == f"{path} syntax OK\n"


@pytest.mark.parametrize("started", ["cold", "warm"])
def test_writes_what_the_machine_needs(root: Path, started: str) -> None:
    reply = answer(root, identity(), started)
    assert (reply["ok"], reply["id"], reply["started"]) == (True, "a-1", started)
    assert written(root) == set(FILES)
    assert {name: stat.S_IMODE((root / name).stat().st_mode) for name in FILES} == FILES
    assert (root / "etc/hostname").read_text() == "db1\n"
    assert (root / "etc/hosts").read_text().splitlines()[-1] == "10.20.0.31 db1.shop.example db1"
    assert (root / "etc/machine-id").read_text() == "0123456789abcdef0123456789abcdef\n"
    assert (root / "etc/ssh/ssh_host_ed25519_key").read_text() == PRIVATE
    assert (root / "root/.ssh/authorized_keys").read_text() == f"{PUBLIC}\n"
    assert stat.S_IMODE((root / "root/.ssh").stat().st_mode) == 0o700


def test_keeps_only_what_a_reboot_needs(root: Path) -> None:
    answer(root, identity())
    assert json.loads((root / "etc/understudy/identity.json").read_text()) == {
        "hostname": "db1",
        "cards": identity()["cards"],
    }


def test_a_template_keeps_nothing(root: Path) -> None:
    assert answer(root, identity())["ok"]
    assert answer(root, identity(template=True))["ok"]
    assert written(root) == set(FILES) - {"etc/understudy/identity.json"}


def test_a_clone_forgets_the_templates_journal_and_keeps_its_own(root: Path) -> None:
    own = identity()["machine_id"]
    for name in (own, "f" * 32):
        (root / "run/log/journal" / name).mkdir(parents=True)
        (root / "run/log/journal" / name / "system.journal").touch()
    answer(root, identity(), "warm")
    assert [path.name for path in (root / "run/log/journal").iterdir()] == [own]
    assert (root / "run/log/journal" / own / "system.journal").exists()


def test_what_nobody_waits_for_is_done_later_and_before_the_end_in_any_case() -> None:
    put_off = (
        "$| = 1; Understudy::Identity::later(sub { print 'one ' }); Understudy::Identity::do_due(0); print 'now ';"
    )
    assert perl(put_off, modules="Identity") == "now "
    assert perl(f"{put_off} Understudy::Identity::do_due(1)", modules="Identity") == "now one "
    assert perl(f"{put_off} sleep 5; Understudy::Identity::do_due(0)", modules="Identity") == "now one "
    failing = "Understudy::Identity::later(sub { die 'no' }); Understudy::Identity::later(sub { print 'two' });"
    assert perl(f"{failing} Understudy::Identity::do_due(1)", modules="Identity") == "two"
    twice = "my $tries; Understudy::Identity::later(sub { die 'no' unless $tries++; print 'at last' });"
    waiting = "sleep 5; Understudy::Identity::do_due(0); " * 2
    assert perl(f"{twice} {waiting}", modules="Identity") == "at last"


@pytest.mark.parametrize("cut_off", ["", "kill TERM => $$; select undef, undef, undef, 0.3;"])
def test_an_end_in_order_does_first_what_was_put_off(cut_off: str, tmp_path: Path) -> None:
    program = f"Understudy::Identity::later(sub {{ {cut_off} print 'kept' }}); $| = 1; print 'now ';"
    program += "open my $button, '<', $ARGV[0]; Understudy::Channel::listen_forever(undef, $button)"
    os.mkfifo(tmp_path / "button")
    argv = ("perl", f"-I{GUEST}", "-MUnderstudy::Channel", "-e", program, str(tmp_path / "button"))
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process, (tmp_path / "button").open("wb"):
        assert process.stdout is not None
        assert process.stdout.read(4) == b"now "
        status = Path(f"/proc/{process.pid}/status")
        while (
            process.poll() is None
            and not int(status.read_text().split("SigCgt:")[1].split()[0], 16) >> (signal.SIGTERM - 1) & 1
        ):
            time.sleep(0.02)
        process.terminate()
        assert process.stdout.read() == b"kept"
        assert process.wait(timeout=30) == 0


def test_a_reader_that_waits_for_the_host_key_gets_it_and_later_ones_find_it(root: Path) -> None:
    key = root / "etc/ssh/ssh_host_ed25519_key"
    os.mkfifo(key, 0o600)
    with subprocess.Popen(("cat", str(key)), stdout=subprocess.PIPE, text=True) as reader:
        assert answer(root, identity(), "warm")["ok"]
        assert reader.communicate(timeout=30)[0] == PRIVATE
    assert key.read_text() == PRIVATE
    assert stat.S_IMODE(key.stat().st_mode) == 0o600


def test_where_nobody_waits_for_the_host_key_it_is_written(root: Path) -> None:
    os.mkfifo(root / "etc/ssh/ssh_host_ed25519_key", 0o600)
    assert answer(root, identity(), "warm")["ok"]
    assert (root / "etc/ssh/ssh_host_ed25519_key").read_text() == PRIVATE


def test_the_same_message_again_changes_nothing(root: Path) -> None:
    answer(root, identity())
    before = {name: (root / name).read_bytes() for name in FILES}
    assert answer(root, identity())["ok"]
    assert {name: (root / name).read_bytes() for name in written(root)} == before


def test_a_left_over_of_a_cut_off_write_is_replaced(root: Path) -> None:
    left = root / "etc/ssh/ssh_host_ed25519_key.understudy-new"
    left.write_text("half")
    left.chmod(0o644)
    assert answer(root, identity())["ok"]
    assert not left.exists()
    assert stat.S_IMODE((root / "etc/ssh/ssh_host_ed25519_key").stat().st_mode) == 0o600


def test_an_unwritable_file_is_named_and_nothing_is_kept(root: Path) -> None:
    (root / "etc/hosts").mkdir()
    (root / "etc/hosts/x").touch()
    reply = answer(root, identity())
    assert (reply["ok"], reply["error"].split(":")[0]) == (False, "/etc/hosts")
    assert "etc/understudy/identity.json" not in written(root)


def test_a_machine_outside_its_own_hosts_knows_its_name(root: Path) -> None:
    answer(root, identity(hosts=[]))
    assert "127.0.1.1 db1" in (root / "etc/hosts").read_text().splitlines()


def test_takes_what_the_host_sends(root: Path) -> None:
    card = {"mac": "52:54:00:AA:00:01", "address": "198.18.7.10", "prefix": 24}
    fields = {"hostname": "lb", "hosts": [], "authorized_keys": [PUBLIC], "cards": {"control": card, "mirror": None}}
    message = identity_message(fields, private_key=PRIVATE, public_key=PUBLIC, domain_uuid=str(uuid.uuid4()))
    assert answer(root, message, "warm")["ok"]


CARD = identity()["cards"]["control"]
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no hostname": ({"hostname": None}, "hostname: missing"),
    "a shell's characters": ({"hostname": "db1;reboot"}, "hostname: not of its form"),
    "a line end behind the hostname": ({"hostname": "db1\n"}, "hostname: not of its form"),
    "a long hostname": ({"hostname": "a" * 64}, "hostname: not of its form"),
    "a hyphen in front": ({"hostname": "-rf"}, "hostname: not of its form"),
    "a list for a hostname": ({"hostname": ["db1"]}, "hostname: not of its form"),
    "true for a hostname": ({"hostname": True}, "hostname: not of its form"),
    "a path as the domain": ({"domain": "../etc"}, "domain: not of its form"),
    "hosts that are none": ({"hosts": "db1"}, "hosts: not a list"),
    "a line smuggled into hosts": (
        {"hosts": [{"address": "10.0.0.1", "names": ["a\n10.0.0.9 db2"]}]},
        "hosts[0]: not an address with names",
    ),
    "a host without names": ({"hosts": [{"address": "10.0.0.1", "names": []}]}, "hosts[0]: not an address with names"),
    "a host's address": ({"hosts": [{"address": "10.0.0.256", "names": ["a"]}]}, "hosts[0]: not an address with names"),
    "a host's other key": (
        {"hosts": [{"address": "10.0.0.1", "names": ["a"], "x": 1}]},
        "hosts[0]: not an address with names",
    ),
    "no private key": ({"host_key_private": "secret"}, "host_key_private: not of its form"),
    "a key of another kind": ({"host_key_public": "ssh-rsa AAAAAAAAAAAAAAAAAAAA"}, "host_key_public: not of its form"),
    "no one may come in": ({"authorized_keys": []}, "authorized_keys: not a list with a key"),
    "options before a key": (
        {"authorized_keys": [f'command="id" {PUBLIC}']},
        "authorized_keys[0]: not a public key's line",
    ),
    "two keys in one line": (
        {"authorized_keys": [f"{PUBLIC}\n{PUBLIC}"]},
        "authorized_keys[0]: not a public key's line",
    ),
    "machine id of zeros": ({"machine_id": "0" * 32}, "machine_id: not of its form"),
    "machine id in capitals": ({"machine_id": "A" * 32}, "machine_id: not of its form"),
    "a short seed": ({"seed": "AAAA"}, "seed: not of its form"),
    "a boot id": ({"boot_id": "x"}, "boot_id: not of its form"),
    "no time": ({"now": "now"}, "now: not of its form"),
    "before 2001": ({"now": 5}, "now: not of its form"),
    "no cards": ({"cards": {}}, 'cards: not an object with "control"'),
    "a third card": ({"cards": {"control": CARD, "wan": CARD}}, "cards.wan: unknown key"),
    "a group's MAC": (
        {"cards": {"control": CARD | {"mac": "01:00:5e:00:00:01"}}},
        "cards.control.mac: not an address of one card",
    ),
    "an address in IPv6": (
        {"cards": {"control": CARD | {"address": "fe80::1"}}},
        "cards.control.address: not an IPv4 address",
    ),
    "a leading zero": (
        {"cards": {"control": CARD | {"address": "198.18.07.1"}}},
        "cards.control.address: not an IPv4 address",
    ),
    "a prefix of 31": ({"cards": {"control": CARD | {"prefix": 31}}}, "cards.control.prefix: not 8 to 30"),
    "a card's other key": ({"cards": {"control": CARD | {"dns": "1.1.1.1"}}}, "cards.control.dns: unknown key"),
    "a card that is none": ({"cards": {"control": 1}}, "cards.control: not an object"),
    "template of text": ({"template": "yes"}, "template: neither true nor false"),
    "an unknown key": ({"run": "reboot"}, "run: unknown key"),
    "version 2": ({"version": 2}, "version: not 1"),
    "no version": ({"version": None}, "version: not 1"),
    "ping beside it": ({"ping": True}, "ping: true, and nothing beside it but version and id"),
    "ping of false": ({"ping": False}, "ping: true, and nothing beside it but version and id"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refuses(root: Path, name: str) -> None:
    changed, fault = REFUSED[name]
    reply = answer(root, identity(**changed))
    assert (reply["ok"], reply["error"]) == (False, fault)
    assert written(root) == set()


def test_names_all_faults_at_once_and_no_values(root: Path) -> None:
    reply = answer(root, identity(hostname="secret;", seed="secret", machine_id=None))
    assert reply["error"] == "hostname: not of its form; machine_id: missing; seed: not of its form"


@pytest.mark.parametrize(
    "line",
    [
        "", "{", "[]", "1", "null", "nonsense", '{"version":1,}', '{"version":1} {}', '{"version":01}', '{"a":1,"a":2}',
        "{'version':1}", '{"version":1,"hostname":"\t"}', '{"version":1,"id":"\\ud800"}', "[" * 100_000,
        '{"a":' * 50 + "1" + "}" * 50, b"\xff\xfe", b'{"version":\x001}',
    ],
    ids=range(17),
)  # fmt: skip
def test_a_line_that_is_no_message_is_refused_and_the_next_is_answered(root: Path, line: str | bytes) -> None:
    first, second = answers(root, line, json.dumps(identity()))
    assert not first["ok"]
    assert first["error"]
    assert second["ok"]


def test_prepare_is_for_templates(root: Path) -> None:
    reply = answer(root, {"version": 1, "id": "x", "prepare": True})
    assert reply == {"ok": False, "id": "x", "error": "prepare: this machine is no template"}


@pytest.mark.parametrize("bad", ["", "a b", "x" * 65, "\n"])
def test_an_id_that_is_none_does_not_come_back(root: Path, bad: str) -> None:
    assert "id" not in answer(root, {"version": 1, "id": bad, "prepare": True})


TEXTS = st.text(st.characters(max_codepoint=127))
LEAVES = st.booleans() | st.none() | TEXTS | st.integers(0, 10**14)
FLAT = LEAVES | st.lists(LEAVES, max_size=3) | st.dictionaries(TEXTS, LEAVES, max_size=3)
VALUES = FLAT | st.lists(FLAT, max_size=3) | st.dictionaries(TEXTS, FLAT, max_size=3)


@settings(max_examples=60)
@given(value=VALUES)
def test_json_comes_back_as_it_was(value: object) -> None:
    program = "print Understudy::Json::json_encode(Understudy::Json::json_decode($ARGV[0]))"
    printed = perl(program, json.dumps(value), modules="Json")
    # Perl has no kinds of plain values: a text that looks like a whole number comes back as one.
    assert _plain(json.loads(printed)) == _plain(value)


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


@settings(max_examples=40)
@given(seed=st.binary(min_size=64, max_size=512))
def test_the_seed_is_decoded_whole(seed: bytes) -> None:
    program = 'print unpack "H*", Understudy::Kernel::decode_base64($ARGV[0])'
    assert perl(program, base64.b64encode(seed).decode()) == seed.hex()


def test_netmasks() -> None:
    program = 'print join " ", map { Understudy::Kernel::netmask($_) } 8 .. 30'
    assert perl(program).split() == [str(ipaddress.ip_network(f"0.0.0.0/{prefix}").netmask) for prefix in range(8, 31)]


def test_the_port_wakes_the_program_that_listens_to_it() -> None:
    """Perl hands its own number over as text; the kernel knew nobody to tell: requests waited for a second."""
    script = """
        use Understudy::Channel;
        socketpair my $host, my $port, 1, 1, 0 or die;
        Understudy::Channel::own_port($port);
        my ($owner, $heard) = (fcntl($port, 9, 0), 0);    # F_GETOWN
        $SIG{IO} = sub { $heard++ };
        syswrite $host, "{}\\n";
        for (1 .. 1000) { select undef, undef, undef, 0.01; last if $heard }
        print "$owner $$ ", $heard ? "heard" : "deaf", "\\n";
    """
    done = subprocess.run(("perl", f"-I{GUEST}", "-e", script), capture_output=True, text=True, check=True)
    owner, process, heard = done.stdout.split()
    assert owner == process
    assert heard == "heard"


def test_what_is_read_before_a_memory_is_saved_has_ended_before_it_is() -> None:
    script = """
        use Understudy::Channel;
        $SIG{CHLD} = 'IGNORE';
        Understudy::Channel::run_program('/bin/sh', '-c', 'sleep 0.5; cat; echo done');
        print "after\\n";
    """
    done = subprocess.run(
        ("perl", f"-I{GUEST}", "-e", script), capture_output=True, text=True, check=True, input="not for it"
    )
    assert done.stdout == "done\nafter\n"
