"""The tunnel of a machine to those in other places, by WireGuard; and whether they all answer."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from ipaddress import IPv4Address
from typing import Any

from model.connection import connection_of
from model.errors import UnderstudyError
from model.tunnels import (
    DEVICE,
    INNER_PORT,
    KEY_FILE,
    ROUTES_FILE,
    Peer,
    Tunnel,
    is_key,
    netdev_text,
    routes_text,
)
from provisioners.commands import scripted
from provisioners.outcome import CommandFailed, Say, last_lines
from provisioners.provider.inputs import COMMON, REACH, TEXT, WORDS, Rule, failures, number, optional
from provisioners.provider.kinds import Failure, Real, Values
from provisioners.provider.machines import changing, reading

_UNIT = "understudy-tunnel.service"
_UNIT_TEXT = f"""\
[Unit]
Description=The way to the machines on other computers
Wants=systemd-networkd.service
After=systemd-networkd.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/bash -c 'until ip -batch {ROUTES_FILE}; do sleep 0.5; done'
TimeoutStartSec=120

[Install]
WantedBy=multi-user.target
"""
"""networkd makes the device. The routes wait for it, and for the machine's own address: networkd 252, which has not set
that one, was tried, and let routes from it wait for ever. Were it enabled by itself, each boot would wait for it."""
_PATIENCE_SECONDS = 60


def _is_address(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(IPv4Address(value))
    except ValueError:
        return False


def _are_peers(value: Any) -> bool:
    keys = {"name", "address", "port", "public_key"}
    return isinstance(value, list) and all(
        isinstance(each, dict)
        and each.keys() - {"endpoint"} == keys
        and _is_address(each["address"])
        and _is_address(each.get("endpoint", each["address"]))
        and isinstance(each["port"], int)
        and isinstance(each["public_key"], str)
        and is_key(each["public_key"])
        for each in value
    )


_ADDRESS = Rule(good=_is_address, allowed="an IPv4 address")
_PEERS = Rule(
    good=_are_peers, allowed="a list of {name, address, port, public_key}, with an endpoint where it is spoken to"
)
_RULES: Mapping[str, Rule] = {
    **COMMON,
    "address": _ADDRESS,
    "gateway": optional(_ADDRESS),  # left out in a cloud
    "port": optional(number(1, 65535)),
    "mtu": optional(number(1280, 65535)),
    "tunnel_key": TEXT,
    "peers": _PEERS,
}


class TunnelKind:
    """Kind ``understudy:index:Tunnel``."""

    token = "understudy:index:Tunnel"
    secret_outputs: frozenset[str] = frozenset()
    replace_on: frozenset[str] = frozenset()
    ignored = REACH

    def check(self, inputs: Mapping[str, Any]) -> tuple[Failure, ...]:
        """Return what is wrong with the inputs."""
        return failures(inputs, _RULES)

    def create(self, inputs: Values, say: Say) -> tuple[str, Values]:
        """Write its files, the private key among them, and begin it.

        Raises:
            UnderstudyError: the machine has no WireGuard, or cannot begin it.
        """
        name = inputs["connection"]["name"]
        with changing(inputs, "the tunnel to other places", say) as shell:
            say(f"the tunnel of {name}")
            for path, content in _files(inputs).items():
                shell.put(content, path, mode="0600" if path == KEY_FILE else "0644")
            try:
                shell.run(scripted("tunnel", DEVICE, _UNIT))
            except CommandFailed as error:
                raise UnderstudyError(
                    where=f"{name}: the tunnel to other places",
                    found=last_lines(error.result.stderr, 4) or error.found,
                    wanted="WireGuard in the kernel, and systemd-networkd",
                ) from error
        return f"{name}:tunnel", {}

    def read(self, identifier: str, inputs: Values, outputs: Values, say: Say) -> Real | None:
        """Return whether its files and its device are there as they were made."""
        if not inputs:
            raise UnderstudyError(where=identifier, found="a tunnel is not imported", todo="Let `up` make it.")
        lines = (f"{hashlib.sha256(content).hexdigest()}  {path}\n" for path, content in _files(inputs).items())
        with reading(inputs, identifier, say) as shell:
            same = shell.run(("sha256sum", "--check", "--status"), stdin="".join(lines).encode(), check=False)
            there = shell.run(("ip", "link", "show", "dev", DEVICE), check=False)
        whole = same.code == 0 and there.code == 0
        return Real(inputs=inputs if whole else {**inputs, "in_place": False}, outputs=outputs)

    def update(self, identifier: str, old: Values, inputs: Values, outputs: Values, say: Say) -> Values:
        """Write it anew, and begin it anew."""
        return self.create(inputs, say)[1]

    def delete(self, identifier: str, inputs: Values, outputs: Values, say: Say) -> None:
        """Take it from a machine that stays."""
        with changing(inputs, "the tunnel to other places", say) as shell:
            shell.run(scripted("tunnel_end", DEVICE, _UNIT, *_files(inputs)))


def _files(inputs: Values) -> dict[str, bytes]:
    """Return what is written on the machine, by path."""
    peers = (
        Peer(
            name=each["name"],
            address=IPv4Address(each["address"]),
            port=int(each["port"]),
            endpoint=IPv4Address(each["endpoint"]) if "endpoint" in each else None,
        )
        for each in inputs["peers"]
    )
    gateway = inputs.get("gateway")
    tunnel = Tunnel(
        name=inputs["connection"]["name"],
        address=IPv4Address(inputs["address"]),
        gateway=IPv4Address(gateway) if gateway else None,
        peers=tuple(peers),
        port=int(inputs.get("port", INNER_PORT)),
        mtu=int(inputs["mtu"]) if "mtu" in inputs else None,
    )
    keys = {each["name"]: each["public_key"] for each in inputs["peers"]}
    return {
        KEY_FILE: f"{inputs['tunnel_key']}\n".encode(),
        f"/etc/systemd/network/{DEVICE}.netdev": netdev_text(tunnel, keys).encode(),
        ROUTES_FILE: routes_text(tunnel).encode(),
        f"/etc/systemd/system/{_UNIT}": _UNIT_TEXT.encode(),
    }


def _are_machines(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(each, dict)
        and each.keys() == {"connection", "peers"}
        and COMMON["connection"].good(each["connection"])
        and isinstance(each["peers"], list)
        and all(isinstance(peer, dict) and _is_address(peer.get("address")) for peer in each["peers"])
        for each in value
    )


class TunnelCheck:
    """Kind ``understudy:index:TunnelCheck``: what machines do with each other waits for it."""

    token = "understudy:index:TunnelCheck"
    secret_outputs: frozenset[str] = frozenset()
    replace_on: frozenset[str] = frozenset()
    ignored = frozenset({"private_key"})

    def check(self, inputs: Mapping[str, Any]) -> tuple[Failure, ...]:
        """Return what is wrong with the inputs."""
        machines = Rule(good=_are_machines, allowed="a list of {connection, peers}")
        return failures(inputs, {"private_key": TEXT, "machines": machines, "recheck_on": WORDS})

    def create(self, inputs: Values, say: Say) -> tuple[str, Values]:
        """Have each machine speak with those that it is to hear.

        Raises:
            UnderstudyError: one does not answer.
        """
        for each in inputs["machines"]:
            name = connection_of(each["connection"]).name
            say(f"{name} speaks with {', '.join(peer['name'] for peer in each['peers'])}")
            addresses = [peer["address"] for peer in each["peers"]]
            with reading({**each, "private_key": inputs["private_key"]}, "", say) as shell:
                silent = shell.run(scripted("tunnel_reach", str(_PATIENCE_SECONDS), DEVICE, *addresses)).text.split()
            if silent:
                peer = next(peer for peer in each["peers"] if peer["address"] == silent[0])
                raise UnderstudyError(
                    where=f"{name}: the tunnel to {peer['name']}",
                    found=f"{peer['name']} ({peer['address']}) does not answer in {_PATIENCE_SECONDS} s",
                    wanted=peer["way"],
                    todo="See what drops it between them: by `tcpdump -ni any udp` on a computer, and whether "
                    "`cloud.tunnels_from` has what that comes from; and whether a cloud's fence is as it was made, by "
                    "`./run pulumi preview --refresh`. Then run it again.",
                )
        return "tunnels", {}

    def read(self, identifier: str, inputs: Values, outputs: Values, say: Say) -> Real | None:
        """Return what was found when it was looked at last."""
        if not inputs:
            raise UnderstudyError(where=identifier, found="a check is not imported", todo="Let `up` make it.")
        return Real(inputs=inputs, outputs=outputs)

    def update(self, identifier: str, old: Values, inputs: Values, outputs: Values, say: Say) -> Values:
        """Look anew."""
        return self.create(inputs, say)[1]

    def delete(self, identifier: str, inputs: Values, outputs: Values, say: Say) -> None:
        """Nothing to do."""
