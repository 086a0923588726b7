"""Whole machines as bodies for those of an EC2 on loopback, behind a router that does what AWS's does.

A body is a guest of qemu with a user's own kind of image: its kernel, its cloud-init, which reads the user data; or
with the project's, which has the packages of the sample company and hears the same over its serial port. It has its
private address alone; the router, a network namespace, translates the public one to it, and lets in and out what the
security groups say. Bodies without a kernel of their own, which are faster: ``tests/clouds/bodies.py``.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import threading
import time
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from ipaddress import IPv4Interface, IPv4Network
from pathlib import Path
from typing import Any
from uuid import uuid4

from bench.bare import send
from components.backends.aws_values import DATA_DEVICE_NAME
from images import build
from images.bare import PORT_NAME
from model.kernel import kernel_command_line
from provisioners.hypervisor.identity import identity_message
from tests.clouds.bodies import Follower, as_values, rules_of, run
from tests.vm import own_image

_MAC = "52:54:00:c1:0d:{:02x}"


class Guests(Follower):
    """The bodies of all machines of an EC2.

    Args:
        directory: for disks.
        ours: whether the bodies are of the project's image.
        memory_mib: of each body.
        number: of the region, where there are several.

    Attributes:
        ec2: given before `start`.
        here: this computer's address at the router.
        public: where the machines' public addresses are.
        cable: this computer's end of the cable to the router.
        trusted: a file with the certificate that bodies of the project's image trust; None for none.
    """

    trusted: Path | None = None

    def __init__(self, directory: Path, *, ours: bool, memory_mib: int = 640, number: int = 0) -> None:
        super().__init__()
        own = (os.getpid() + 8000 * number) % 16000
        self._own = own
        self._directory, self._ours, self._memory = directory, ours, memory_mib
        self._awake: set[str] = set()
        self._plugged: set[str] = set()
        self.here, self._router = (f"100.127.{own // 64}.{own % 64 * 4 + last}" for last in (1, 2))
        self.public = IPv4Network(f"100.126.{os.getpid() % 256}.{128 * number}/25")
        self._net, self.cable = f"uc{own:x}", f"uc{own:x}h"
        self._machines: dict[str, subprocess.Popen[bytes]] = {}
        self._rules = ""

    def inside(self, *argv: str, told: str = "") -> str:
        """Run a command on the router."""
        return run("ip", "netns", "exec", self._net, *argv, told=told)

    def start(self) -> None:
        """Make the router and its cable to this computer, and begin to follow what the cloud says."""
        at = ("ip", "-n", self._net)
        run("ip", "netns", "add", self._net)
        run("ip", "link", "add", self.cable, "type", "veth", "peer", "name", "eth0", "netns", self._net)
        run("ip", "address", "add", f"{self.here}/30", "dev", self.cable)
        run("ip", "link", "set", self.cable, "up")
        run(*at, "address", "add", f"{self._router}/30", "dev", "eth0")
        run(*at, "link", "add", "inside", "type", "bridge")
        for card in ("lo", "eth0", "inside"):
            run(*at, "link", "set", card, "up")
        self.inside("sysctl", "-q", "net.ipv4.ip_forward=1")
        self.inside("ip", "route", "add", "default", "via", self.here)
        run("ip", "route", "add", str(self.public), "via", self._router)
        self._thread.start()

    def remove(self) -> None:
        """End all bodies, and forget their disks and their router."""
        self._leave()
        for name in [*self._machines]:
            self._end(name)
        for argv in (("netns", "delete", self._net), ("link", "delete", self.cable)):
            with suppress(subprocess.CalledProcessError):
                run("ip", *argv)

    def _catch_up(self) -> None:
        found = self.ec2.describe_instances()["Reservations"]
        running = {
            one["InstanceId"]: one for group in found for one in group["Instances"] if one["State"]["Name"] == "running"
        }
        for name in self._machines.keys() - running.keys():
            self._end(name)
        self._let(running)
        for name in sorted(running.keys() - self._machines.keys()):
            self._begin(name, running[name])
        self._attach()

    def _attach(self) -> None:
        """Plug disks into machines that run; each has its own name as the number of its series."""
        for volume in self.ec2.describe_volumes()["Volumes"]:
            for at in volume["Attachments"]:
                name, machine = volume["VolumeId"], at["InstanceId"]
                if name in self._plugged or machine not in self._awake or at["Device"] != DATA_DEVICE_NAME:
                    continue
                disk = self._directory / name
                with disk.open("wb") as content:
                    content.truncate(volume["Size"] << 30)
                told = (
                    f"drive_add 0 if=none,id={name},file={disk},format=raw,cache=unsafe\n"
                    f"device_add virtio-blk-pci,drive={name},serial={name.replace('-', '')}\n"
                )
                with socket.socket(socket.AF_UNIX) as monitor:
                    monitor.connect(str(self._directory / f"{machine}.monitor"))
                    monitor.sendall(told.encode())
                    time.sleep(0.5)
                    assert b"rror" not in (said := monitor.recv(65536)), said
                self._plugged.add(name)

    def _let(self, running: dict[str, Any]) -> None:
        lines = [line for one in running.values() for line in _passing(self.ec2, one)]
        text = _ROUTER.format(
            into="".join(f"  {line}\n" for hook, line in lines if hook == "input"),
            out="".join(f"  {line}\n" for hook, line in lines if hook == "output"),
            arriving="".join(
                f"  ip daddr {one['PublicIpAddress']} dnat to {one['PrivateIpAddress']};\n" for one in running.values()
            ),
            leaving="".join(
                f'  oifname != "inside" ip saddr {one["PrivateIpAddress"]} snat to {one["PublicIpAddress"]};\n'
                for one in running.values()
            ),
        )
        if text != self._rules:
            self.inside("nft", "-f", "-", told=text)
            self._rules = text

    @contextmanager
    def beside(self, other: Guests) -> Iterator[str]:
        """Have two regions that run reach each other; give the end at which this computer hears it."""
        cable = f"{self._net}n"
        first, second = (f"100.125.{self._own // 64}.{self._own % 64 * 4 + at}" for at in (1, 2))
        run("ip", "link", "add", cable, "type", "bridge")
        try:
            run("ip", "link", "set", cable, "up")
            for one, neighbour, own, far in ((self, other, first, second), (other, self, second, first)):
                end = f"{one._net}f"
                run("ip", "link", "add", end, "type", "veth", "peer", "name", "far", "netns", one._net)
                run("ip", "link", "set", end, "master", cable, "up")
                one.inside("ip", "address", "add", f"{own}/30", "dev", "far")
                one.inside("ip", "link", "set", "far", "up")
                one.inside("ip", "route", "add", str(neighbour.public), "via", far)
            yield f"{self._net}f"
        finally:
            run("ip", "link", "delete", cable)

    def _plan_of(self, one: dict[str, Any]) -> IPv4Network:
        return IPv4Network(self.ec2.describe_subnets(SubnetIds=[one["SubnetId"]])["Subnets"][0]["CidrBlock"])

    def _begin(self, name: str, one: dict[str, Any]) -> None:
        told = self.ec2.describe_instance_attribute(InstanceId=name, Attribute="userData")["UserData"]["Value"]
        plan = self._plan_of(one)
        at, card = ("ip", "-n", self._net), f"tap{len(self._machines)}"
        run(*at, "address", "replace", f"{plan[1]}/{plan.prefixlen}", "dev", "inside")
        run(*at, "tuntap", "add", card, "mode", "tap")
        run(*at, "link", "set", card, "master", "inside", "up")
        mac, user_data = _MAC.format(len(self._machines)), b64decode(told).decode()
        private = IPv4Interface(f"{one['PrivateIpAddress']}/{plan.prefixlen}")
        argv = (
            *("qemu-system-x86_64", "-nodefaults", "-display", "none", "-accel", "tcg", "-cpu", "max"),
            *("-m", str(self._memory), "-monitor", f"unix:{self._directory / name}.monitor,server=on,wait=off"),
            *("-serial", f"file:{self._directory / name}.log", "-object", "rng-random,id=rng,filename=/dev/urandom"),
            *("-device", "virtio-rng-pci,rng=rng", "-netdev", f"tap,id=net,ifname={card},script=no,downscript=no"),
            *("-device", f"virtio-net-pci,netdev=net,romfile=,mac={mac}"),
            *(
                self._told_over_a_port(name, private)
                if self._ours
                else self._told_by_a_disk(name, user_data, private, mac)
            ),
        )
        self._machines[name] = subprocess.Popen(("ip", "netns", "exec", self._net, *argv), stdin=subprocess.DEVNULL)
        values = as_values(user_data)
        self.user_data[values["hostname"]] = user_data
        if self._ours:
            message = json.dumps(_who(values, private, mac)).encode()
            threading.Thread(target=self._tell, args=(name, message + b"\n"), daemon=True).start()
        else:
            self._awake.add(name)

    def _tell(self, name: str, message: bytes) -> None:
        """Tell a machine who it is. A disk that is plugged in while it begins can be in the way of its own."""
        send(self._directory / f"{name}.port", message)
        self._awake.add(name)

    def _told_over_a_port(self, name: str, private: IPv4Interface) -> tuple[str, ...]:
        """Make the disk of the project's image, and have it booted."""
        image = build.ensure(print)
        disk = self._with_what_aws_has(image.disk, private)
        return (
            *("-kernel", str(image.kernel), "-initrd", str(image.initrd), "-append", kernel_command_line("tcg")),
            *("-drive", f"file={self._clone(name, disk)},if=virtio,format=qcow2,cache=unsafe"),
            *("-chardev", f"socket,id=identity,path={self._directory / name}.port,server=on,wait=off"),
            *("-device", "virtio-serial-pci", "-device", f"virtserialport,chardev=identity,name={PORT_NAME}"),
        )

    def _with_what_aws_has(self, image: Path, private: IPv4Interface) -> Path:
        """Return the image with what Debian has in AWS: a default route, and its names of disks; and with the trust."""
        disk = self._directory / "ours.raw"
        if disk.exists():
            return disk
        run("qemu-img", "convert", "-O", "raw", str(image), str(disk))
        units = "/etc/systemd/system"
        files = {
            "/etc/udev/rules.d/61-ebs.rules": _NAMES_OF_DISKS,
            f"{units}/way-out.service": _WAY_OUT.format(gateway=private.network[1]),
        }
        if self.trusted:
            digest = run("openssl", "x509", "-hash", "-noout", "-in", str(self.trusted)).strip()
            files[f"/etc/ssl/certs/{digest}.0"] = self.trusted.read_text()
        acts = [f"symlink {units}/sysinit.target.wants/way-out.service {units}/way-out.service"]
        for at, (path, text) in enumerate(files.items()):
            source = self._directory / f"laid{at}"
            source.write_text(text)
            acts.insert(0, f"write {source} {path}")
        (self._directory / "laid").write_text("".join(f"{act}\n" for act in acts))
        run("debugfs", "-w", "-f", str(self._directory / "laid"), str(disk))
        return disk

    def _clone(self, name: str, image: Path) -> Path:
        disk = self._directory / f"{name}.qcow2"
        kind = "raw" if image.suffix == ".raw" else "qcow2"
        run("qemu-img", "create", "-q", "-f", "qcow2", "-b", str(image), "-F", kind, str(disk), "8G")
        return disk

    def _told_by_a_disk(self, name: str, user_data: str, private: IPv4Interface, mac: str) -> tuple[str, ...]:
        """Make its system disk, and one that tells what AWS's own service would tell."""
        seed, contents = (self._directory / f"{name}{end}" for end in (".iso", ".contents"))
        contents.mkdir()
        routes = [{"to": "0.0.0.0/0", "via": str(private.network[1])}]
        card = {"match": {"macaddress": mac}, "addresses": [str(private)], "routes": routes}
        for file, text in (
            ("meta-data", json.dumps({"instance-id": name})),
            ("user-data", user_data),
            ("network-config", json.dumps({"version": 2, "ethernets": {"card": card}})),
        ):
            (contents / file).write_text(text)
        run("genisoimage", "-quiet", "-volid", "cidata", "-joliet", "-rock", "-output", str(seed), str(contents))
        return (
            *("-drive", f"file={self._clone(name, own_image.ensure())},if=virtio,format=qcow2,cache=unsafe"),
            *("-drive", f"file={seed},if=virtio,format=raw,readonly=on"),
        )

    def _end(self, name: str) -> None:
        process = self._machines.pop(name)
        process.kill()
        process.wait()


def _who(told: dict[str, Any], private: IPv4Interface, mac: str) -> dict[str, Any]:
    """Return what cloud-init would be told as the project's image takes it."""
    name, _, domain = told["fqdn"].partition(".")
    card = {"mac": mac, "address": str(private.ip), "prefix": private.network.prefixlen}
    who = {"hostname": name, "domain": domain, "hosts": [], "authorized_keys": told["ssh_authorized_keys"]}
    keys = told["ssh_keys"]
    return identity_message(
        {**who, "cards": {"control": card}},
        private_key=keys["ed25519_private"],
        public_key=keys["ed25519_public"],
        domain_uuid=str(uuid4()),
    )


_NAMES_OF_DISKS = (
    'SUBSYSTEM=="block", ENV{DEVTYPE}=="disk", ATTR{serial}=="vol*", '
    'SYMLINK+="disk/by-id/nvme-Amazon_Elastic_Block_Store_$attr{serial}"\n'
)
_WAY_OUT = """\
[Unit]
DefaultDependencies=no

[Service]
Type=oneshot
ExecStart=/bin/sh -c 'until ip route replace default via {gateway}; do sleep 0.5; done'
"""
_ROUTER = """\
table ip cloud
delete table ip cloud
table ip cloud {{
 chain arriving {{
  type nat hook prerouting priority dstnat; policy accept;
{arriving} }}
 chain leaving {{
  type nat hook postrouting priority srcnat; policy accept;
{leaving} }}
 chain passing {{
  type filter hook forward priority 0; policy drop;
  ct state established,related accept
  iifname "inside" oifname "inside" accept
{into}{out} }}
}}
"""


def _passing(ec2: Any, one: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what a machine's security groups let pass between it and the world, in nft's words."""
    for hook, rule in rules_of(ec2, one):
        card, side = ("iifname", "daddr") if hook == "input" else ("oifname", "saddr")
        yield hook, f'{card} != "inside" ip {side} {one["PrivateIpAddress"]} {rule}'
