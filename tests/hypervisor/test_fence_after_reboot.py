"""After a reboot of the host nothing is in the kernel: a libvirt of the test's own, in namespaces, starts a network."""

from __future__ import annotations

import os
import subprocess
import uuid
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from model.libvirt_xml import network_xml
from model.tunnels import Ways
from provisioners.hypervisor.fence_rules import Hop, crossing, ruleset

HOOK = Path(__file__).parents[2] / "provisioners" / "hypervisor" / "fence-hook.sh"
REBOOTED = """
set -eu
mount -t proc proc /proc
mount -t tmpfs none /run
mkdir -p /run/libvirt /var/lib/understudy/fences /etc/libvirt/hooks
mount --bind "$1/fences" /var/lib/understudy/fences
mount --bind "$1/hooks" /etc/libvirt/hooks
mount -t tmpfs none /var/lib/libvirt
mount -t tmpfs none /var/log
mkdir -p /var/lib/libvirt/dnsmasq /var/lib/libvirt/network /var/log/libvirt /etc/libvirt/qemu/networks
mount -t tmpfs none /etc/libvirt/qemu
mkdir -p /etc/libvirt/qemu/networks/autostart
ip link set lo up
libvirtd -d
for try in $(seq 100); do virsh -q -c qemu:///system net-list >/dev/null 2>&1 && break; sleep 0.1; done
virsh -q -c qemu:///system net-define "$1/network.xml"
code=0
virsh -q -c qemu:///system net-start understudy-test || code=$?
nft list tables
ip -brief link
kill "$(cat /run/libvirtd.pid)"
exit "$code"
"""


@pytest.fixture
def table(tmp_path: Path) -> str:
    table = f"us{uuid.uuid4().hex[:6]}"
    for name in ("fences", "hooks/network.d"):
        (tmp_path / name).mkdir(parents=True)
    rules = ruleset(f"{table}m", f"{table}c", IPv4Network("198.18.249.0/24"))
    (tmp_path / "fences" / f"{table}.nft").write_text(rules)
    (tmp_path / "network.xml").write_text(network_xml("understudy-test", f"{table}m"))
    hook = tmp_path / "hooks" / "network.d" / "understudy-fence"
    hook.write_text(HOOK.read_text())
    hook.chmod(0o755)
    return table


def reboot(directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "bash", "-c", REBOOTED, "x", str(directory)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    )


def test_the_fence_is_there_before_the_network(table: str, tmp_path: Path) -> None:
    done = reboot(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"table bridge {table}" in done.stdout
    assert f"table inet {table}" in done.stdout
    assert f"{table}m" in done.stdout.split("table inet")[-1]


def test_without_its_fence_the_network_does_not_start(table: str, tmp_path: Path) -> None:
    (tmp_path / "fences" / f"{table}.nft").write_text("table bridge broken {")
    done = reboot(tmp_path)
    assert done.returncode != 0
    assert "does not start" in done.stderr
    assert f"{table}m " not in done.stdout


def test_tunnels_are_carried_again_once_the_bridge_is_there(table: str, tmp_path: Path) -> None:
    (tmp_path / "network.xml").write_text(network_xml("understudy-test", f"{table}c"))
    own, far = IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2")
    ways = Ways(address=own, own=((IPv4Address("198.18.249.10"), 40000),), far=((far, 40001),))
    rules = crossing(f"{table}c", IPv4Network("198.18.249.0/24"), ways, {far: Hop(card="lo", address=far)})
    (tmp_path / "fences" / f"{table}.netdev").write_text(rules)
    done = reboot(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"table netdev {table}" in done.stdout
    (tmp_path / "fences" / f"{table}.netdev").write_text(rules.replace('"lo"', '"gone"'))
    done = reboot(tmp_path)
    assert done.returncode == 0, "the machines of this host speak with each other all the same"
    assert "table netdev" not in done.stdout
