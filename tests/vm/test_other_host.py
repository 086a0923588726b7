"""A real machine on another computer, which has its own SSH server, libvirt and network: from nothing to nothing.

Then a second one here, and the two are one network: what goes over the cable between the computers is WireGuard's.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from ipaddress import IPv4Network
from itertools import permutations
from pathlib import Path

import pytest

from cli.hosts import make_ready, swept
from images.build import IMAGES
from model.capacity import HERE
from model.placement import Accelerator, PlacedMachine, Placement
from model.tunnels import outer_port
from provisioners.hypervisor.copies import part
from provisioners.outcome import Unreachable
from provisioners.shell import close_all
from tests.doubles.computer import Computer
from tests.vm.capture import escapes, is_ssh, is_tunnel, listening
from tests.vm.lab import Lab, image, lab, left_overs, machine

pytestmark = pytest.mark.vm

PAGE = "hello from a"
SERVE = """
mkdir -p /srv/page; echo "$1" >/srv/page/index.html
systemd-run --quiet --unit=page -- python3 -u -m http.server --directory /srv/page 80
until curl --silent --output /dev/null http://127.0.0.1/; do sleep 0.2; done
"""
TRY = 'timeout 3 bash -c "exec 3<>/dev/tcp/$1/$2" 2>/dev/null && echo reached; true'


@pytest.fixture
def rack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Computer]:
    with Computer("rack1") as computer:
        monkeypatch.setenv("HOME", str(computer.home(tmp_path / "home")))
        yield computer


@pytest.fixture
def stage(tmp_path: Path, rack: Computer) -> Iterator[Lab]:
    with lab(tmp_path / "lab", 13, [machine("a", 11)], warm=False, hosts=(rack.placed,)) as made:
        yield made
    assert left_overs(made) == []


def placement(stage: Lab) -> Placement:
    network = IPv4Network(stage.control_network)
    return Placement(
        control_network=network,
        accelerator=Accelerator(kind="tcg", reason="tests"),
        image=image(),
        machines=(PlacedMachine(name="a", host="rack1", control_address=network[10]),),
        hosts=tuple(stage.hosts),
    )


def things(rack: Computer) -> dict[str, list[str]]:
    """Return what there is on the other computer of any stack."""
    return {
        "machines": rack.inside("virsh", "list", "--all", "--name").split(),
        "networks": rack.inside("virsh", "net-list", "--all", "--name").split(),
        "pools": rack.inside("virsh", "pool-list", "--all", "--name").split(),
        "tables": [line for line in rack.inside("nft", "list", "tables").splitlines() if " us" in line],
        "disks": rack.kept("/var/lib/understudy/stacks"),
        "fences": [name for name in rack.kept("/var/lib/understudy/fences") if not name.startswith(".")],
        "hooks": rack.kept("/etc/libvirt/hooks"),
    }


def test_a_machine_on_another_computer(stage: Lab, rack: Computer) -> None:
    copy_is_taken_up_where_it_was_cut(stage, rack)
    stage.up()
    assert left_overs(stage) == [], "nothing of it is on this computer"
    assert {what: len(each) for what, each in things(rack).items()} == {
        "machines": 1,
        "networks": 2,
        "pools": 1,
        "tables": 2,
        "disks": 1,
        "hooks": 2,
        "fences": 2,
    }
    assert stage.changes_nothing()
    it_is_reached_through_its_host_alone(stage, rack)
    machines_on_two_computers_are_one_network(stage, rack)
    a_host_that_is_off_is_told_with_what_to_type(stage, rack)
    what_is_not_as_it_was_is_seen_and_mended(stage, rack)
    what_a_killed_run_left_there_is_taken_away(stage, rack)
    on_one_computer_again_there_is_no_tunnel(stage, rack)
    stage.pulumi("destroy", "--yes", "--skip-preview", "--stack", stage.stack)
    assert not any(things(rack).values()), things(rack)
    assert rack.kept(f"/var/lib/understudy/images/{image()}"), "the image stays for the next stack"


def copy_is_taken_up_where_it_was_cut(stage: Lab, rack: Computer) -> None:
    whole = IMAGES / image() / "disk.qcow2"
    unfinished = Path(f"{rack.place}/disk{part(image(), 'disk.qcow2')}")
    unfinished.parent.mkdir(parents=True)
    with whole.open("rb") as stream:
        unfinished.write_bytes(stream.read(600 << 20))
    said: list[str] = []
    make_ready(stage.stack, placement(stage), IMAGES / image(), said.append)
    shown = [line for line in said if line.startswith(f"image {image()} to rack1: ")]
    assert int(shown[0].split()[4]) == 600, shown
    assert said[-1] == f"image {image()} is on rack1"
    said.clear()
    make_ready(stage.stack, placement(stage), IMAGES / image(), said.append)
    assert said == [], "it is copied once"


def it_is_reached_through_its_host_alone(stage: Lab, rack: Computer) -> None:
    output = stage.outputs()["a"]
    assert output["connection"]["jump"] == f"root@{rack.address}:22"
    assert (output["started"], output["reason"]) == ("cold", "cold: there is no template for it")
    with stage.shell("a") as shell:
        assert shell.run(("hostname",)).text == "a"
        gateway = output["connection"]["address"].rpartition(".")[0] + ".1"
        shell.run(("ip", "route", "replace", "default", "via", gateway))
        for address, port in ((gateway, "22"), (rack.address, "22"), (rack.controller, "22")):
            assert shell.run(("bash", "-c", TRY, "try", address, port)).text == "", f"{address} is outside the fence"
        shell.run(("ip", "route", "del", "default"))


def machines_on_two_computers_are_one_network(stage: Lab, rack: Computer) -> None:
    stage.machines, stage.address = [*stage.machines, {**machine("b", 12), "host": HERE}], rack.controller
    with listening() as capture:
        stage.up()
        assert stage.changes_nothing()
        with stage.shell("a") as shell:
            shell.run(("bash", "-c", SERVE, "serve", PAGE))
        assert page_of_a(stage) == PAGE
    with stage.shell("a") as shell:
        assert "10.77.0.12 - - " in shell.run(("journalctl", "--unit=page", "--output=cat")).text, "prod's own address"
    ports = {outer_port(IPv4Network(stage.control_network)[at]) for at in (10, 11)}
    cable = [frame for device, _, frame in capture.frames if device == rack.cable and frame[12:14] == b"\x08\x00"]
    tunnel = [frame for frame in cable if not is_ssh(frame)]
    assert {(frame[23], *struct.unpack("!HH", frame[34:38])) for frame in tunnel} == {
        (17, *permutation) for permutation in permutations(ports)
    }, "between the computers is SSH, and the two ports of the tunnel"
    assert {frame[42] for frame in tunnel} <= {1, 2, 3, 4}, "WireGuard's four kinds of messages"
    assert any(frame[42] == 4 for frame in tunnel), "nothing was sent through it"
    heard = escapes(stage.stack, ("b",), capture, lambda frame: is_ssh(frame) or is_tunnel(frame, ports))
    assert heard == []


def page_of_a(stage: Lab) -> str:
    with stage.shell("b") as shell:
        return shell.run(("curl", "--silent", "--show-error", "--max-time", "60", "http://a.test.example/")).text


def on_one_computer_again_there_is_no_tunnel(stage: Lab, rack: Computer) -> None:
    stage.machines = stage.machines[:1]
    stage.up()
    assert stage.changes_nothing()
    assert left_overs(stage) == [], "nothing of it is on this computer any more"
    assert (len(things(rack)["tables"]), len(things(rack)["fences"])) == (2, 2), "nothing carries tunnels"
    with stage.shell("a") as shell:
        left = shell.run(("bash", "-c", "ls -d /sys/class/net/us-tunnel /etc/systemd/network/*; true")).text
        assert left == ""
        assert shell.run(("systemctl", "is-active", "systemd-networkd"), check=False).text.strip() == "inactive"


def a_host_that_is_off_is_told_with_what_to_type(stage: Lab, rack: Computer) -> None:
    rack.stop()
    done = stage.pulumi("preview", "--stack", stage.stack, check=False)
    assert done.returncode != 0
    assert "host rack1: its libvirt is not reached over SSH (ssh: connect to host" in done.stdout + done.stderr
    with pytest.raises(Unreachable, match=rf"host rack1: no SSH at .*`ssh root@{rack.address} true`"):
        swept(stage.stack, stage.owner, stage.state(), placement(stage), print, act=True)
    close_all()
    rack.start()


def what_is_not_as_it_was_is_seen_and_mended(stage: Lab, rack: Computer) -> None:
    """Its power was cut; libvirt has put the fence back before it started the networks, and somebody takes it away.

    On this computer, somebody takes the tunnel away. That of the other machine comes back as it boots.
    """
    with stage.shell("b") as shell:
        shell.run(("ip", "link", "delete", "dev", "us-tunnel"))
    assert len(things(rack)["tables"]) == 3
    for line in things(rack)["tables"]:
        rack.inside("nft", "delete", *line.split())
    done = stage.pulumi("preview", "--refresh", "--diff", "--stack", stage.stack)
    assert "in_place" in done.stdout
    assert "running" in done.stdout
    assert "b:tunnel" in done.stdout
    stage.up("--refresh")
    assert len(things(rack)["tables"]) == 3
    with stage.shell("a") as shell:
        assert shell.run(("hostname",)).text == "a"
        shell.run(("bash", "-c", SERVE, "serve", PAGE))
    assert page_of_a(stage) == PAGE
    assert stage.changes_nothing()


def what_a_killed_run_left_there_is_taken_away(stage: Lab, rack: Computer) -> None:
    left = f"/var/lib/understudy/stacks/{stage.stack}/left.qcow2"
    rack.inside("touch", left)
    assert swept(stage.stack, stage.owner, stage.state(), placement(stage), print, act=True) == [
        f"disk {left} on rack1"
    ]
    assert len(things(rack)["disks"]) == 1
