"""The tunnel of a machine: what is written there, seen and taken away; and what is told where nobody answers.

On a real machine, with WireGuard in its kernel: ``tests/vm/test_other_host.py``.
"""

from __future__ import annotations

import stat
from typing import Any

import pytest

from model.errors import UnderstudyError
from provisioners.provider.kinds import UNKNOWN
from provisioners.provider.tunnel import TunnelCheck, TunnelKind
from tests.doubles.sshd import Machine

KEY = f"{'A' * 43}="
PEER = {"name": "b", "address": "10.20.0.12", "port": 33217, "public_key": KEY}
FILES = (
    "etc/systemd/network/us-tunnel.key",
    "etc/systemd/network/us-tunnel.netdev",
    "etc/systemd/network/us-tunnel.routes",
    "etc/systemd/system/understudy-tunnel.service",
)


def quiet(_: str) -> None: ...


def inputs(machine: Machine, **more: Any) -> dict[str, Any]:
    reach = {"connection": machine.connection.values(), "private_key": machine.private_key, "generation": "1"}
    own = {"address": "10.20.0.11", "gateway": "198.18.7.1", "tunnel_key": KEY, "peers": [PEER]}
    return {**reach, **own, **more}


@pytest.mark.parametrize(
    ("more", "faulty"),
    [
        ({}, []),
        ({"peers": UNKNOWN, "tunnel_key": UNKNOWN}, []),
        ({"peers": [{**PEER, "public_key": UNKNOWN}]}, []),
        ({"address": "app1"}, ["address"]),
        ({"gateway": 1}, ["gateway"]),
        ({"port": 33217}, []),
        ({"port": 0}, ["port"]),
        ({"peers": [{**PEER, "public_key": f"{KEY}\nAllowedIPs=0.0.0.0/0"}]}, ["peers"]),
        ({"peers": [{**PEER, "address": "10.20.0.0/24"}]}, ["peers"]),
        ({"peers": [{"name": "b"}]}, ["peers"]),
    ],
)
def test_wrong_inputs(machine: Machine, more: dict[str, Any], faulty: list[str]) -> None:
    assert [failure.property for failure in TunnelKind().check(inputs(machine, **more))] == faulty


def test_a_machine_without_wireguard_is_told_and_what_was_begun_is_taken_away(machine: Machine) -> None:
    wanted = inputs(machine)
    machine.program("modprobe", "exit 1")
    with pytest.raises(UnderstudyError, match=r"m1: the tunnel .*no WireGuard in its kernel, or no systemd-networkd"):
        TunnelKind().create(wanted, quiet)
    key, *others = (machine.root / file for file in FILES)
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert key.read_text() == f"{KEY}\n"
    assert all(KEY not in file.read_text() for file in others[1:])
    real = TunnelKind().read("m1:tunnel", wanted, {}, quiet)
    assert real is not None
    assert real.inputs == {**wanted, "in_place": False}, "its device is not there"
    TunnelKind().delete("m1:tunnel", wanted, {}, quiet)
    assert not any((machine.root / file).exists() for file in FILES)
    assert "stop systemd-networkd.socket systemd-networkd.service" in " ".join(machine.systemctl_calls())


def test_a_machine_that_does_not_answer_is_told_with_what_has_to_pass(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("provisioners.provider.tunnel._PATIENCE_SECONDS", 1)
    way = "UDP between 192.0.2.1 (here) port 33216 and 192.0.2.2 (rack) port 33217, both ways"
    peers = [{"name": "a", "address": "127.0.0.1", "way": ""}, {"name": "b", "address": "255.255.255.255", "way": way}]
    wanted: dict[str, Any] = {
        "private_key": machine.private_key,
        "machines": [{"connection": machine.connection.values(), "peers": peers}],
        "recheck_on": ["g1"],
    }
    assert TunnelCheck().check(wanted) == ()
    with pytest.raises(UnderstudyError) as told:
        TunnelCheck().create(wanted, quiet)
    assert (told.value.where, told.value.wanted) == ("m1: the tunnel to b", way)
    wanted["machines"][0]["peers"] = peers[:1]  # nobody listens there, which it says itself
    assert TunnelCheck().create(wanted, quiet) == ("tunnels", {})
