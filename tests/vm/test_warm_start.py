"""Machines that wake from a template: who they are, what they share, and that they then live as any other."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import paramiko
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from paramiko.kex_ecdh_nist import KexNistp256

from model.libvirt_xml import parsed
from provisioners.hypervisor.host import IMAGES, TEMPLATES, read_json
from provisioners.hypervisor.identity import ask
from provisioners.hypervisor.running import shut_down
from provisioners.hypervisor.sweep import disks_of
from provisioners.hypervisor.template_memory import is_whole
from provisioners.hypervisor.virsh import Virsh
from provisioners.hypervisor.warm_start import save_path
from provisioners.shell import ConnectionLost, Unreachable, close_all
from tests.vm.lab import Lab, lab, left_overs, machine

pytestmark = pytest.mark.vm

OWN = """
hostname
cat /etc/hostname /etc/machine-id /proc/sys/kernel/random/boot_id
cat /etc/ssh/ssh_host_*_key.pub
cat /sys/class/net/eth0/address /sys/class/net/eth1/address
ip -4 -o address show dev eth0 | sed 's/.*inet //'
ip -4 -o address show dev eth1 | sed 's/.*inet //'
head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \\n'; echo
head -c 32 /dev/random | od -An -tx1 | tr -d ' \\n'; echo
cat /proc/sys/kernel/random/uuid
mktemp -u XXXXXXXXXXXXXXXX
python3 -c 'import random, uuid; print(random.getrandbits(128)); print(uuid.uuid1())'
timeout 30 bash -c 'until ls /run/log/journal | grep .; do sleep 0.2; done'
"""


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    machines = [machine("a", 11), machine("b", 12), machine("c", 13, data_disk_mib=512)]
    with lab(tmp_path_factory.mktemp("warm"), 1, machines) as made:
        made.up()
        yield made
    assert left_overs(made) == []


def run(made: Lab, name: str, script: str) -> str:
    with made.shell(name) as shell:
        return shell.run(("bash", "-c", script)).text


def test_they_woke_and_a_second_update_changes_nothing(pair: Lab) -> None:
    outputs = pair.outputs()
    assert {name: outputs[name]["started"] for name in "abc"} == dict.fromkeys("abc", "warm"), outputs
    assert pair.changes_nothing()
    assert "unchanged" in pair.pulumi("refresh", "--yes", "--stack", pair.stack).stdout
    assert pair.changes_nothing()


def test_two_clones_share_nothing_of_their_own(pair: Lab) -> None:
    of_a, of_b = (run(pair, name, OWN).splitlines() for name in "ab")
    assert len(of_a) == len(of_b) >= 15
    shared = {line for line in of_a if line.strip()} & set(of_b)
    assert shared == set()
    assert of_a[0] == of_a[1] == "a"
    assert "template" not in "\n".join([*of_a, *of_b])


def test_their_clocks_are_the_hosts(pair: Lab) -> None:
    for name in "ab":
        with pair.shell(name) as shell:
            before = time.time()
            theirs = float(shell.run(("date", "+%s.%N")).text)
            assert before - 2 < theirs < time.time() + 2


def test_they_have_the_locales_that_prods_databases_may_have(pair: Lab) -> None:
    locales = run(pair, "a", "locale -a").split()
    assert {"en_US.utf8", "de_DE.utf8", "ja_JP.utf8", "fr_FR"} <= set(locales)


def test_the_memory_is_used_up(pair: Lab) -> None:
    assert [save_path(pair.domain(name)).exists() for name in "abc"] == [False] * 3


def test_each_reads_the_templates_memory_and_what_it_writes_is_its_own(pair: Lab) -> None:
    for name in "abc":
        qemu = Path("/run/libvirt/qemu", f"{pair.domain(name)}.pid").read_text()
        ram = next(line.split() for line in Path(f"/proc/{qemu}/maps").read_text().splitlines() if "memory.ram" in line)
        assert ram[1] == "rw-p", "p: private"
        template = Path(ram[-1]).parent
        assert template.name in pair.outputs()[name]["reason"]
        assert is_whole(template, read_json(template / "template.json")["memory"])


def test_the_daemon_came_with_the_memory_and_has_each_machines_own_key(pair: Lab) -> None:
    for name in "ab":  # that each connection met its own key is what let us in
        found = run(pair, name, "systemctl show ssh.service --property ActiveState,MainPID,NRestarts; sshd -T")
        assert "ActiveState=active" in found
        assert "maxstartups 256:30:256" in found
        assert "listenaddress 0.0.0.0:22" in found
        assert "listenaddress [::]:22" not in found


def test_what_their_daemons_draw_at_random_is_each_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection is a copy of a daemon that is itself a copy of the template's: its random state must not be.

    It is so for seconds alone, and so whoever looks is there while they wake.
    """
    drawn = list[bytes]()
    read_offer: Any = paramiko.Transport._parse_kex_init  # type: ignore[attr-defined]
    read_reply: Any = KexNistp256._parse_kexecdh_reply  # type: ignore[attr-defined]

    def note_offer(self: paramiko.Transport, offer: paramiko.Message) -> None:
        drawn.append(offer.asbytes()[:16])
        read_offer(self, offer)

    def note_reply(self: KexNistp256, reply: paramiko.Message) -> None:
        read_reply(self, reply)
        assert self.Q_S is not None
        drawn.append(self.Q_S.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint))

    monkeypatch.setattr(paramiko.Transport, "_parse_kex_init", note_offer)
    monkeypatch.setattr(KexNistp256, "_parse_kexecdh_reply", note_reply)
    with lab(tmp_path, 17, [machine("a", 11), machine("b", 12)]) as made:
        up = made.start("up", "--yes", "--skip-preview", "--stack", made.stack)
        with ThreadPoolExecutor(2) as pool:  # each as soon as it wakes
            met = list(pool.map(lambda at: ([first_line(made, up, at) for _ in range(2)], time.time()), (0, 1)))
        for line in (line for lines, _ in met for line in lines):
            with paramiko.Transport(line) as transport:
                transport.get_security_options().kex = ("ecdh-sha2-nistp256",)
                transport.start_client(timeout=60)
        printed, said = up.communicate(timeout=300)
        assert up.returncode == 0, f"{printed}{said}"
        assert len(drawn) == len(set(drawn)) == 8  # a cookie of OpenSSH's own and a key of OpenSSL's, each time
        for name, (_, met_at) in zip("ab", met, strict=True):
            with made.shell(name) as shell:
                behind = time.time() - float(shell.run(("date", "+%s.%N")).text)
                assert float(shell.run(("bash", "-c", STARTED_ANEW)).text) + behind + 1 > met_at, "it was no copy"
    assert left_overs(made) == []


STARTED_ANEW = """
daemon() { systemctl show --value --property "$1" ssh.service; }
until grep -qz -- '-D \\[listener\\]' "/proc/$(daemon MainPID)/cmdline"; do sleep 0.2; done 2>/dev/null
date --date="$(daemon ExecMainStartTimestamp)" +%s
"""


def first_line(made: Lab, up: subprocess.Popen[str], at: int) -> socket.socket:
    """Return a connection to a machine's sshd, as soon as it has taken one: that has said the first word."""
    address = str(IPv4Network(made.control_network)[10 + at])
    while up.poll() is None:
        if Virsh().state(made.domain(made.machine_names[at])) == "running":
            with suppress(OSError):
                line = socket.create_connection((address, 22), timeout=1)
                line.settimeout(60)
                if line.recv(1, socket.MSG_PEEK):
                    return line
        time.sleep(0.02)
    raise AssertionError(up.communicate())


def test_some_seconds_later_its_daemons_are_as_any_machines(pair: Lab) -> None:
    for name in "ab":
        found = run(
            pair, name, "systemctl show ssh.service --property ExecMainStatus,MainPID; pgrep -fa 'sshd.*listener'"
        )
        assert "-D" in found
        assert "-D -r" not in found
        assert run(pair, name, "ls /run/log/journal") == run(pair, name, "cat /etc/machine-id")


BROKEN = "/etc/ssh/sshd_config.d/00-test.conf"


def test_its_settings_are_read_again_and_it_listens_on_the_control_card_alone_whatever_happens(pair: Lab) -> None:
    listening = "ss --no-header --listening --tcp --numeric 'sport = 22' | awk '{print $4}'"
    assert run(pair, "a", listening) == "0.0.0.0%eth0:22"
    run(pair, "a", f"echo SetEnv READ=again > {BROKEN}; systemctl try-reload-or-restart ssh")
    close_all()
    assert run(pair, "a", f"echo $READ; {listening}").split() == ["again", "0.0.0.0%eth0:22"]
    run(pair, "a", f"echo Nonsense yes > {BROKEN}; systemd-run --quiet sh -c 'pkill -o -x sshd'")
    run(pair, "a", f"sleep 5; systemctl is-active ssh.socket; rm {BROKEN}")  # it cannot start, this session goes on
    close_all()
    assert run(pair, "a", listening) == "0.0.0.0%eth0:22"


def test_nothing_writes_by_itself_into_what_a_disk_has_grown_by(pair: Lab) -> None:
    found = run(pair, "a", "df --output=size --block-size=M / | tail -1; cat /proc/mounts; cat /proc/[0-9]*/comm")
    assert int(found.splitlines()[0].strip(" M")) > 7000
    assert "noinit_itable" in found
    assert "ext4lazyinit" not in found


def test_a_memory_that_the_user_saved_comes_back(pair: Lab) -> None:
    before = run(pair, "b", "echo kept > /dev/shm/kept; cat /dev/shm/kept /proc/sys/kernel/random/boot_id")
    Virsh().run("managedsave", pair.domain("b"))
    Virsh().run("start", pair.domain("b"))
    assert run(pair, "b", "cat /dev/shm/kept /proc/sys/kernel/random/boot_id") == before
    assert pair.changes_nothing()


def test_they_hear_each_other_by_name_and_see_their_disks(pair: Lab) -> None:
    run(pair, "b", "systemd-run --quiet python3 -m http.server --directory /etc --bind 10.77.0.12 8000")
    assert run(pair, "a", "curl -sS --retry 20 --retry-connrefused http://b.test.example:8000/hostname") == "b"
    sizes = json.loads(run(pair, "c", "lsblk --json --bytes --nodeps --output NAME,SIZE"))["blockdevices"]
    assert {disk["name"]: int(disk["size"]) for disk in sizes} == {"vda": 8192 << 20, "vdb": 512 << 20}


def test_the_next_boot_is_cold_and_the_machine_the_same(pair: Lab) -> None:
    before = run(pair, "a", "cat /etc/machine-id /proc/sys/kernel/random/boot_id; touch /root/kept; sync").split()
    Virsh().run("reboot", pair.domain("a"))
    deadline = time.monotonic() + 180
    after = before
    while after[1] == before[1]:
        assert time.monotonic() < deadline
        time.sleep(2)
        with suppress(ConnectionLost, Unreachable):  # it goes down in the middle of the question, and boots for a while
            after = run(
                pair, "a", "cat /etc/machine-id /proc/sys/kernel/random/boot_id; ls /root/kept; hostname"
            ).split()
    assert (after[0], after[2:]) == (before[0], ["/root/kept", "a"])
    assert pair.changes_nothing()


def test_a_machine_that_was_switched_off_comes_back(pair: Lab) -> None:
    generation = pair.outputs()["a"]["generation"]
    Virsh().run("destroy", pair.domain("a"))
    pair.up("--refresh")
    assert run(pair, "a", "ls /root/kept") == "/root/kept"
    assert pair.outputs()["a"]["generation"] == generation
    assert pair.changes_nothing()


def test_a_machine_that_libvirt_lost_comes_back_on_its_own_disk(pair: Lab) -> None:
    generation = pair.outputs()["b"]["generation"]
    run(pair, "b", "touch /root/kept; sync")
    Virsh().run("destroy", pair.domain("b"))
    Virsh().run("undefine", pair.domain("b"))
    pair.up("--refresh")
    assert run(pair, "b", "ls /root/kept; hostname").split() == ["/root/kept", "b"]
    after = pair.outputs()["b"]
    assert (after["generation"], after["started"]) == (generation, "cold")
    assert pair.changes_nothing()


def test_more_memory_keeps_the_disks_and_shuts_the_machine_down_first(pair: Lab) -> None:
    generation = pair.outputs()["c"]["generation"]
    run(pair, "c", "mkfs.ext4 -q /dev/vdb && mount /dev/vdb /mnt && touch /mnt/data /root/kept")
    pair.machines = [*pair.machines[:2], machine("c", 13, data_disk_mib=512, memory_mib=640)]
    pair.up()
    found = run(
        pair, "c", "ls /root/kept; mount /dev/vdb /mnt; ls /mnt/data; grep MemTotal /proc/meminfo; dmesg"
    ).splitlines()
    assert found[:2] == ["/root/kept", "/mnt/data"]
    assert int(re.sub(r"\D", "", found[2])) > 540_000
    assert not [line for line in found if "recovery complete" in line and "vda" in line]  # a power cut leaves a journal
    after = pair.outputs()["c"]
    assert (after["generation"], after["started"]) == (generation, "cold")
    assert "no memory but its own" in after["reason"]
    assert pair.changes_nothing()


def test_another_disk_is_another_generation(pair: Lab) -> None:
    before = pair.outputs()["b"]["generation"]
    pair.up("--replace", urn_of_disk(pair, "b"))
    after = pair.outputs()["b"]
    assert after["generation"] != before
    assert after["started"] == "warm", after
    assert run(pair, "b", "hostname; ls /root") == "b"


def test_the_fence_of_each_stack_stands(pair: Lab) -> None:
    rules = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True).stdout
    from model import names

    assert rules.count(names.bridge(pair.stack, "mirror")[:-1]) == 2


@pytest.fixture
def another_image(pair: Lab) -> Iterator[str]:
    """Give a second image, with the same contents."""
    digest = f"{pair.image[:6]}{os.urandom(3).hex()}"
    subprocess.run(["cp", "-al", str(IMAGES / pair.image), str(IMAGES / digest)], check=True)
    yield digest
    pair.pulumi("destroy", "--yes", "--skip-preview", "--stack", pair.stack)
    shutil.rmtree(IMAGES / digest)
    for notes in TEMPLATES.glob("*/template.json"):
        if read_json(notes).get("spec", {}).get("image") == digest:
            shutil.rmtree(notes.parent)


def test_another_image_is_another_system_disk_and_the_data_stays(pair: Lab, another_image: str) -> None:
    before = pair.outputs()["c"]["generation"]
    pair.image = another_image
    pair.up()
    virsh = Virsh()
    disks = disks_of(parsed(virsh.run("dumpxml", pair.domain("c"))))
    assert another_image in json.dumps(chain(disks["vda"]))
    assert pair.outputs()["c"]["generation"] != before
    assert run(pair, "c", "hostname; ls /root; mount /dev/vdb /mnt; ls /mnt/data").split() == ["c", "/mnt/data"]
    assert pair.changes_nothing()


def test_whatever_ends_a_machine_in_its_first_seconds_it_comes_back_as_itself(tmp_path: Path) -> None:
    """What it was told goes to its disk a few seconds later, or when it is shut down in order."""
    with lab(tmp_path, 16, [machine("a", 11, data_disk_mib=256)]) as made:
        domain, virsh = made.domain("a"), Virsh()
        made.up()
        shut_down(virsh, domain, print)
        virsh.run("start", domain)
        assert run(made, "a", "hostname; cat /etc/hostname; ls /etc/understudy").split() == ["a", "a", "identity.json"]
        for by_hand in (False, True):
            cut_in_its_first_seconds(made)
            if not by_hand:
                virsh.run("destroy", domain)
            made.up("--refresh")
            known = run(
                made, "a", "hostname; cat /etc/hostname; date +%s; ls /etc/understudy; lsblk -no SIZE /dev/vdb"
            ).split()
            assert known[:2] == ["a", "a"]
            assert abs(int(known[2]) - time.time()) < 5
            assert known[3:] == ["identity.json", "256M"]
            assert made.changes_nothing()
    assert left_overs(made) == []


def cut_in_its_first_seconds(made: Lab) -> None:
    """Make the machine anew, and cut its power before its disk has what it was told; then start it by hand."""
    domain, virsh = made.domain("a"), Virsh()
    for _ in range(5):
        made.up("--replace", urn_of_disk(made, "a"))
        virsh.run("destroy", domain)
        assert made.outputs()["a"]["started"] == "warm"
        virsh.run("start", domain)
        known = ask(virsh, domain, {"version": 1, "ping": True}, seconds=300, say=print, doing="test")
        if known["hostname"] == "(none)":
            return
    raise AssertionError("it was never cut in time")


def urn_of_disk(of: Lab, name: str) -> str:
    """Return the engine's name of a machine's system disk."""
    lines = of.pulumi("stack", "--show-urns", "--stack", of.stack).stdout.splitlines()
    return next(line.split()[-1] for line in lines if f"volume:Volume::{name}-system" in line)


def chain(disk: str) -> list[str]:
    """Return a disk's own file and all that it stands on."""
    argv = ["qemu-img", "info", "--force-share", "--backing-chain", "--output=json", disk]
    return [each["filename"] for each in json.loads(subprocess.check_output(argv))]
