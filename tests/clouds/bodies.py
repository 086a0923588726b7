"""Bodies for the machines of an EC2 on loopback: each that it says is running runs here, at the address that it says.

A body is a machine of `tests.doubles.sshd` with a network of its own. It is told what cloud-init would be told, has the
disks that are attached to it, and lets in and out what its security groups say.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
import time
from abc import ABC, abstractmethod
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from components.backends.aws_values import DATA_DEVICE_NAME, data_device
from tests.doubles.sshd import Machine

_HERE = Path(__file__).parent
_SSH_PORT = 22


class Body(Machine):
    """The body of one machine.

    Args:
        told: its user data.
        private: its address in its own network, with the network's prefix.
        public: the address at which it is reached, with the prefix of the bridge's network.
        bridge: the switch that it is plugged into.
        rules: what its security groups let in and out, in nft's words.
        certificate: of a certificate authority that its programs trust; None for none.
    """

    _namespaces = ("--mount", "--pid", "--net", "--uts")

    def __init__(
        self, told: dict[str, Any], private: str, public: str, bridge: str, rules: str, certificate: Path | None
    ) -> None:
        super().__init__(told["hostname"])
        self.port, self._address = _SSH_PORT, public.partition("/")[0]
        self._told, self._addresses, self._bridge, self._rules = told, (private, public), bridge, rules
        self._certificate = certificate
        self._card = f"{bridge}{self._address.rpartition('.')[2]}"

    def stop(self) -> None:
        """Cut its power, and unplug it: connections that nobody ended keep a network for minutes."""
        super().stop()
        with suppress(subprocess.CalledProcessError):
            run("ip", "link", "delete", self._card)

    def _plug_in(self, process: subprocess.Popen[bytes]) -> None:
        own, here = Path(f"/proc/{process.pid}/ns/uts"), Path("/proc/self/ns/uts").readlink()
        while own.readlink() == here:
            time.sleep(0.005)
        card, inside = self._card, ("nsenter", f"--target={process.pid}", "--net")
        run("ip", "link", "add", card, "type", "veth", "peer", "name", "eth0", "netns", str(process.pid))
        run("ip", "link", "set", card, "master", self._bridge, "up")
        run("nsenter", f"--target={process.pid}", "--uts", "hostname", self.name)
        run(*inside, "nft", "-f", "-", told=self._rules)
        run(*inside, "ip", "link", "set", "lo", "up")
        for address in self._addresses:
            run(*inside, "ip", "address", "add", address, "dev", "eth0")
        run(*inside, "ip", "link", "set", "eth0", "up")

    def _seed(self, seed: Path) -> None:
        super()._seed(seed)
        told, ssh, programs = self._told, seed / "etc" / "ssh", seed / "usr" / "bin"
        config = (ssh / "sshd_config.double").read_text()
        config = config.replace("double_host_key", "ssh_host_ed25519_key").replace("127.0.0.1", "0.0.0.0")
        config = config.replace("/etc/ssh/double_authorized_keys", "/root/.ssh/authorized_keys")
        (ssh / "sshd_config.double").write_text(config)
        (ssh / "double_host_key").unlink()
        (ssh / "ssh_host_ed25519_key").write_text(told["ssh_keys"]["ed25519_private"])
        (ssh / "ssh_host_ed25519_key").chmod(0o600)
        (seed / "root" / ".ssh").mkdir()
        (seed / "root" / ".ssh" / "authorized_keys").write_text("\n".join(told["ssh_authorized_keys"]))
        (programs / "systemctl").rename(programs / "systemctl-told")
        shutil.copy(_HERE / "systemctl.sh", programs / "systemctl")
        (programs / "systemctl").chmod(0o755)
        if self._certificate:
            words = ("openssl", "x509", "-hash", "-noout", "-in", str(self._certificate))
            trusted = seed / "etc" / "ssl" / "certs"
            trusted.mkdir(parents=True)
            shutil.copy(self._certificate, trusted / f"{run(*words).strip()}.0")

    def let(self, rules: str) -> None:
        """Let in and out what the security groups say by now."""
        if rules != self._rules and self._process:
            inside = ("nsenter", f"--target={self._process.pid}", "--net")
            run(*inside, "nft", "-f", "-", told=f"delete table inet groups\n{rules}")
            self._rules = rules

    def attach(self, device: str, disk: str) -> None:
        """Plug a disk in, by that name."""
        own = "mkdir -p /dev/disk; mountpoint -q /dev/disk || mount -t tmpfs none /dev/disk"
        self.inside("bash", "-c", f'{own}; mkdir -p "${{1%/*}}"; ln -sf "$2" "$1"', "attach", device, disk)


class Follower(ABC):
    """Follows what an EC2 says, in a thread of its own.

    Attributes:
        ec2: a client of it.
        user_data: what was told to each machine, by its name; what a cloud keeps of it is open to others.
        fault: what went wrong meanwhile.
    """

    ec2: Any

    def __init__(self) -> None:
        self.user_data: dict[str, str] = {}
        self.fault: BaseException | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow)

    @abstractmethod
    def start(self) -> None:
        """Make what the machines are plugged into, and begin to follow."""

    @abstractmethod
    def remove(self) -> None:
        """End all that was made, also where only a part of it was."""

    @abstractmethod
    def _catch_up(self) -> None:
        """Do what the EC2 says."""

    def _follow(self) -> None:
        while not self._over.wait(0.3):
            try:
                self._catch_up()
            except BaseException as error:
                self.fault = error
                raise

    def _leave(self) -> None:
        """Follow no more."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()


Following = TypeVar("Following", bound=Follower)


class Bodies(Follower):
    """All bodies of an EC2.

    Args:
        ec2: a client of it.
        network: where public addresses are, such as ``198.19.231``: this computer is the first in it.
        directory: for disks.
        certificate: what the machines trust; None for nothing further.
    """

    def __init__(self, ec2: Any, network: str, directory: Path, certificate: Path | None = None) -> None:
        super().__init__()
        self.ec2, self._network, self._directory, self._certificate = ec2, network, directory, certificate
        self.bridge = f"udr{os.getpid() % 100000}"
        self.by_name: dict[str, Body] = {}
        self._by_id: dict[str, Body] = {}
        self._disks: dict[str, str] = {}

    def _catch_up(self) -> None:
        self._embody()
        self._attach()

    def _embody(self) -> None:
        found = self.ec2.describe_instances()["Reservations"]
        every = {one["InstanceId"]: one for group in found for one in group["Instances"]}
        running = {name for name, one in every.items() if one["State"]["Name"] == "running"}
        for name in self._by_id.keys() - running:
            self._by_id.pop(name).remove()
        for name in sorted(running - self._by_id.keys()):
            one = every[name]
            text = self.ec2.describe_instance_attribute(InstanceId=name, Attribute="userData")["UserData"]["Value"]
            told = b64decode(text).decode()
            rules = self._rules_of(one)
            private, public = f"{one['PrivateIpAddress']}/24", f"{one['PublicIpAddress']}/24"
            body = Body(as_values(told), private, public, self.bridge, rules, self._certificate)
            body.start()
            self.user_data[body.name] = told
            self._by_id[name] = self.by_name[body.name] = body

        for name, body in self._by_id.items():
            body.let(self._rules_of(every[name]))

    def _attach(self) -> None:
        for volume in self.ec2.describe_volumes()["Volumes"]:
            for at in volume["Attachments"]:
                name, body = volume["VolumeId"], self._by_id.get(at["InstanceId"])
                if body and name not in self._disks and at["Device"] == DATA_DEVICE_NAME:
                    file = self._directory / name
                    with file.open("wb") as content:
                        content.truncate(volume["Size"] << 30)
                    self._disks[name] = run("losetup", "--find", "--show", str(file)).strip()
                    body.attach(data_device(name), self._disks[name])

    def _rules_of(self, one: dict[str, Any]) -> str:
        """Return what a machine's security groups let in and out, in nft's words: answers, and what a rule names."""
        lines = {hook: [rule for each, rule in rules_of(self.ec2, one) if each == hook] for hook in ("input", "output")}
        chains = "".join(
            f"chain {hook} {{ type filter hook {hook} priority 0; policy drop; ct state established,related accept; "
            f"{card} lo accept; {'; '.join(lines[hook])}; }}\n"
            for hook, card in (("input", "iif"), ("output", "oif"))
        )
        return f"table inet groups {{ {chains} }}\n"

    def start(self) -> None:
        """Make the switch, and begin to follow what the cloud says."""
        run("ip", "link", "add", self.bridge, "type", "bridge")
        run("ip", "address", "add", f"{self._network}.1/24", "dev", self.bridge)
        run("ip", "link", "set", self.bridge, "up")
        self._thread.start()

    def remove(self) -> None:
        """End all bodies, and forget their disks and their switch."""
        self._leave()
        for body in self._by_id.values():
            body.remove()
        for disk in self._disks.values():
            with suppress(subprocess.CalledProcessError):
                run("losetup", "--detach", disk)
        with suppress(subprocess.CalledProcessError):
            run("ip", "link", "delete", self.bridge)


def rules_of(ec2: Any, one: dict[str, Any]) -> list[tuple[str, str]]:
    """Return what a machine's security groups let in (``input``) and out (``output``), each rule in nft's words."""
    (card,) = one["NetworkInterfaces"]  # moto does not always tell the machine's own groups
    groups = [group["GroupId"] for group in card["Groups"]]
    assert groups
    plan = ec2.describe_subnets(SubnetIds=[one["SubnetId"]])["Subnets"][0]["CidrBlock"]
    found = []
    for group in ec2.describe_security_groups(GroupIds=groups)["SecurityGroups"]:
        for hook, key, end in (("input", "IpPermissions", "saddr"), ("output", "IpPermissionsEgress", "daddr")):
            for rule in group[key]:
                far = [each["CidrIp"] for each in rule["IpRanges"]] + [plan for _ in rule["UserIdGroupPairs"]]
                protocol = rule["IpProtocol"]
                assert protocol in ("-1", "tcp", "udp")
                ports = "" if protocol == "-1" else f"{protocol} dport {rule['FromPort']}-{rule['ToPort']}"
                found += [(hook, f"ip {end} {network} {ports} accept") for network in far]
    return found


def as_values(user_data: str) -> dict[str, Any]:
    """Return what cloud-init is told, below its first line."""
    told: dict[str, Any] = json.loads(user_data.partition("\n")[2])
    return told


@contextmanager
def switched(bodies: Following) -> Iterator[Following]:
    """Give bodies to the machines of a cloud, and take them away in the end."""
    try:
        bodies.start()
        yield bodies
    finally:
        bodies.remove()


def run(*argv: str, told: str = "") -> str:
    return subprocess.run(argv, input=told, capture_output=True, text=True, check=True).stdout
