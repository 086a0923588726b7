"""Whole machines as bodies for those of an EC2 on loopback, behind a router that does what AWS's does.

A body is a guest of qemu with a user's own kind of image: its kernel, its cloud-init, which reads the user data. It has
its private address alone; the router, a network namespace, translates the public one to it, and lets in and out what
the security groups say. Bodies without a kernel of their own, which are faster: ``tests/clouds/bodies.py``.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from tests.clouds.bodies import rules_of, run
from tests.vm import own_image

_MAC = "52:54:00:c1:0d:{:02x}"


class Guests:
    """The bodies of all machines of an EC2.

    Args:
        directory: for disks.

    Attributes:
        ec2: a client of it, given before `start`.
        here: this computer's address at the router.
        public: where the machines' public addresses are.
        cable: this computer's end of the cable to the router.
    """

    ec2: Any

    def __init__(self, directory: Path) -> None:
        own = os.getpid() % 16000
        self._directory = directory
        self.here, self._router = (f"100.127.{own // 64}.{own % 64 * 4 + last}" for last in (1, 2))
        self.public = IPv4Network(f"100.126.{own % 256}.0/24")
        self._net, self.cable = f"uc{own:x}", f"uc{own:x}h"
        self._machines: dict[str, subprocess.Popen[bytes]] = {}
        self._rules = ""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow)
        self.fault: BaseException | None = None

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
        run("ip", "route", "add", str(self.public), "via", self._router)
        self._thread.start()

    def remove(self) -> None:
        """End all bodies, and forget their disks and their router."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()
        for name in [*self._machines]:
            self._end(name)
        for argv in (("netns", "delete", self._net), ("link", "delete", self.cable)):
            with suppress(subprocess.CalledProcessError):
                run("ip", *argv)

    def _follow(self) -> None:
        while not self._over.wait(0.3):
            try:
                self._embody()
            except BaseException as error:
                self.fault = error
                raise

    def _embody(self) -> None:
        found = self.ec2.describe_instances()["Reservations"]
        running = {
            one["InstanceId"]: one for group in found for one in group["Instances"] if one["State"]["Name"] == "running"
        }
        for name in self._machines.keys() - running.keys():
            self._end(name)
        self._let(running)
        for name in sorted(running.keys() - self._machines.keys()):
            self._begin(name, running[name])

    def _let(self, running: dict[str, Any]) -> None:
        lines = [line for one in running.values() for line in _passing(self.ec2, one)]
        text = _ROUTER.format(
            into="".join(f"  {line}\n" for hook, line in lines if hook == "input"),
            out="".join(f"  {line}\n" for hook, line in lines if hook == "output"),
            arriving="".join(
                f"  ip daddr {one['PublicIpAddress']} dnat to {one['PrivateIpAddress']};\n" for one in running.values()
            ),
            leaving="".join(
                f'  oifname "eth0" ip saddr {one["PrivateIpAddress"]} snat to {one["PublicIpAddress"]};\n'
                for one in running.values()
            ),
        )
        if text != self._rules:
            self.inside("nft", "-f", "-", told=text)
            self._rules = text

    def _begin(self, name: str, one: dict[str, Any]) -> None:
        told = self.ec2.describe_instance_attribute(InstanceId=name, Attribute="userData")["UserData"]["Value"]
        plan = IPv4Network(self.ec2.describe_subnets(SubnetIds=[one["SubnetId"]])["Subnets"][0]["CidrBlock"])
        at, card = ("ip", "-n", self._net), f"tap{len(self._machines)}"
        run(*at, "address", "replace", f"{plan[1]}/{plan.prefixlen}", "dev", "inside")
        run(*at, "tuntap", "add", card, "mode", "tap")
        run(*at, "link", "set", card, "master", "inside", "up")
        mac = _MAC.format(len(self._machines))
        disks = self._disks(name, b64decode(told).decode(), f"{one['PrivateIpAddress']}/{plan.prefixlen}", plan, mac)
        argv = (
            *("qemu-system-x86_64", "-nodefaults", "-display", "none", "-accel", "tcg", "-cpu", "max", "-m", "640"),
            *("-serial", f"file:{self._directory / name}.log", "-object", "rng-random,id=rng,filename=/dev/urandom"),
            *("-device", "virtio-rng-pci,rng=rng", "-netdev", f"tap,id=net,ifname={card},script=no,downscript=no"),
            *("-device", f"virtio-net-pci,netdev=net,mac={mac}", *disks),
        )
        self._machines[name] = subprocess.Popen(("ip", "netns", "exec", self._net, *argv), stdin=subprocess.DEVNULL)

    def _disks(self, name: str, user_data: str, address: str, plan: IPv4Network, mac: str) -> tuple[str, ...]:
        """Make its system disk, and one that tells what AWS's own service would tell."""
        system, seed, contents = (self._directory / f"{name}{end}" for end in (".qcow2", ".iso", ".contents"))
        base = str(own_image.ensure())
        run("qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "qcow2", str(system), "8G")
        contents.mkdir()
        card = {
            "match": {"macaddress": mac},
            "addresses": [address],
            "routes": [{"to": "0.0.0.0/0", "via": str(plan[1])}],
        }
        for file, text in (
            ("meta-data", json.dumps({"instance-id": name})),
            ("user-data", user_data),
            ("network-config", json.dumps({"version": 2, "ethernets": {"card": card}})),
        ):
            (contents / file).write_text(text)
        run("genisoimage", "-quiet", "-volid", "cidata", "-joliet", "-rock", "-output", str(seed), str(contents))
        return (
            *("-drive", f"file={system},if=virtio,format=qcow2,cache=unsafe"),
            *("-drive", f"file={seed},if=virtio,format=raw,readonly=on"),
        )

    def _end(self, name: str) -> None:
        process = self._machines.pop(name)
        process.kill()
        process.wait()


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
{into}{out} }}
}}
"""


def _passing(ec2: Any, one: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what a machine's security groups let pass between it and the world, in nft's words."""
    for hook, rule in rules_of(ec2, one):
        card, side = ("iifname", "daddr") if hook == "input" else ("oifname", "saddr")
        yield hook, f'{card} "eth0" ip {side} {one["PrivateIpAddress"]} {rule}'


@contextmanager
def embodied(guests: Guests) -> Iterator[Guests]:
    """Give bodies to the machines of a cloud, and take them away in the end."""
    try:
        guests.start()
        yield guests
    finally:
        guests.remove()
