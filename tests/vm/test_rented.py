"""Machines here and in clouds are one network, by Terraform's AWS provider in an EC2 whose machines are guests.

What is real: the provider, all machines with their kernels, the clouds' rules as packet filters, and their translation
of addresses. What is not: AWS itself, of which two regions are the two clouds.
"""

from __future__ import annotations

import os
import re
import shutil
import struct
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from bench.site import Site, is_gone
from bench.spread import move
from model import names
from model.capacity import HERE
from model.placement import PlacedHost
from model.tunnels import DEVICE, ROUTES_FILE, outer_port
from provisioners.commands import scripted
from provisioners.hypervisor.virsh import Virsh
from provisioners.shell import ConnectionLost, Shell, close_all
from tests.clouds.bodies import switched
from tests.clouds.conftest import aws_plugin, aws_provider, client_of, environment_of, serve_ec2
from tests.clouds.guests import Guests
from tests.clouds.test_aws import left_over
from tests.doubles.pulumi import ROOT, wait_until
from tests.vm.capture import escapes, is_ssh, is_tunnel, listening
from tests.vm.lab import Lab, lab, left_overs, machine

pytestmark = pytest.mark.vm
__all__ = ["aws_plugin", "aws_provider"]

REGION = "eu-central-1"
CAPACITY = """\
hosts:
  here: {{address: {here}, vcpus_per_core: 64}}
  rented: {{kind: aws, region: eu-central-1, budget_per_month: 100}}
"""
RENTED = PlacedHost(name="rented", kind="aws", region=REGION)
FAR = PlacedHost(name="far", kind="aws", region="eu-west-1")
IGMP = 2
"""What a router says of its own accord."""
SERVE = """
mkdir -p /srv/page; echo "$1" >/srv/page/index.html
systemd-run --quiet --unit=page -- python3 -u -m http.server --directory /srv/page 80
until (exec 3<>/dev/tcp/127.0.0.1/80) 2>/dev/null; do sleep 0.2; done
"""
FETCH = """
timeout 10 bash -c 'exec 3<>"/dev/tcp/$1/80"; printf "GET / HTTP/1.0\\r\\n\\r\\n" >&3; sed "1,/^\\r$/d" <&3' - "$1"
true
"""
TRY = 'timeout 3 bash -c "exec 3<>/dev/tcp/$1/$2" 2>/dev/null && echo reached; true'


@pytest.fixture
def cloud(
    tmp_path: Path,
    aws_plugin: Path,
    aws_provider: str,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> Iterator[Guests]:
    """Give the cloud; its machines are of a user's own kind of image, or of the project's where a test says so."""
    for name in ("ec2", "disks"):
        (tmp_path / name).mkdir()
    made = Guests(tmp_path / "disks", ours=getattr(request, "param", False))
    elsewhere = Guests(tmp_path / "disks", ours=False, number=1).public
    with serve_ec2(tmp_path / "ec2", str(made.public), f"{FAR.region}={elsewhere}") as endpoint:
        made.ec2 = client_of(endpoint)
        for name, value in environment_of(endpoint, aws_provider).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("PATH", str(aws_plugin), prepend=":")
        with switched(made):
            yield made
    close_all()


@pytest.fixture
def far(tmp_path: Path, cloud: Guests) -> Iterator[Guests]:
    """Give another cloud, which reaches the first past this computer."""
    (tmp_path / "far").mkdir()
    made = Guests(tmp_path / "far", ours=True, number=1)
    made.ec2 = client_of(os.environ["AWS_ENDPOINT_URL"], FAR.region)
    with switched(made):
        yield made


@pytest.fixture
def stage(tmp_path: Path, cloud: Guests, far: Guests) -> Iterator[Lab]:
    places = {"a": RENTED.name, "b": HERE, "c": FAR.name}
    machines = [{**machine(name, at), "host": host} for at, (name, host) in enumerate(places.items(), start=11)]
    with lab(tmp_path / "lab", 14, machines, warm=False, hosts=(FAR, RENTED)) as made:
        made.address, made.ssh_from = cloud.here, [f"{each.here}/32" for each in (cloud, far)]
        yield made
    assert left_overs(made) == []
    assert left_over(cloud.ec2) == left_over(far.ec2) == []


def page(shell: Shell, of: str) -> str:
    """Return the page of another machine as one sees it; nothing where that does not answer."""
    return shell.run(("bash", "-c", FETCH, "fetch", of)).text


def test_machines_here_and_in_two_clouds_are_one_network(stage: Lab, cloud: Guests, far: Guests) -> None:
    plan = stage.pulumi("preview", "--stack", stage.stack).stdout
    assert "+ understudy:index:TunnelCheck tunnels create" in " ".join(plan.split()), plan
    with cloud.beside(far) as between, listening() as capture:
        stage.up()
        assert cloud.fault is far.fault is None
        for name in stage.machine_names:
            with stage.shell(name) as shell:
                shell.run(("bash", "-c", SERVE, "serve", f"hello from {name}"))
        for name in stage.machine_names:
            with stage.shell(name) as shell:
                for other in {*stage.machine_names} - {name}:
                    assert page(shell, other) == f"hello from {other}"
        they_get_nowhere_else(stage, cloud, far)
        assert stage.changes_nothing()
    a, b, c = ports = [outer_port(IPv4Network(stage.control_network)[at]) for at in (10, 11, 12)]
    for cable, first, second in ((cloud.cable, a, b), (far.cable, b, c), (between, a, c)):
        packets = [frame for device, _, frame in capture.frames if device == cable and frame[12:14] == b"\x08\x00"]
        udp = [frame for frame in packets if frame[23] == 17]
        assert {struct.unpack("!HH", frame[34:38]) for frame in udp} == {(first, second), (second, first)}
        assert {frame[42] for frame in udp} <= {1, 2, 3, 4}, "WireGuard's four kinds of messages"
        assert any(frame[42] == 4 for frame in udp), "nothing was sent through it"
        if cable == between:
            others = {(frame[23], frame[34]) for frame in packets if frame[23] not in (IGMP, 17)}
            assert others <= {(1, 3)}, "two clouds say nothing more than that nobody listens there yet"
    heard = escapes(stage.stack, ("b",), capture, lambda frame: is_ssh(frame) or is_tunnel(frame, ports))
    assert heard == []
    each_peer_answers_for_itself(stage)
    what_broke_comes_back_by_itself(stage, cloud)


def they_get_nowhere_else(stage: Lab, cloud: Guests, far: Guests) -> None:
    """What machines say to each other comes with the addresses of prod; to the world a rented one says nothing."""
    with stage.shell("a") as shell:
        seen = shell.run(("journalctl", "--unit=page", "--output=cat")).text
        assert all(f"10.77.0.{last} - - " in seen for last in (12, 13)), "prod's own addresses"
        there = stage.outputs()["c"]["connection"]["address"]
        for address in (cloud.here, far.here, there):
            assert shell.run(("bash", "-c", TRY, "try", address, "22")).text == "", "the clouds' rules let nothing out"


def each_peer_answers_for_itself(stage: Lab) -> None:
    """A machine that drops what comes to its SSH has shaken hands; one that is not there has not."""
    with stage.shell("a") as shell:
        shell.run(("ip", "route", "replace", "blackhole", "10.77.0.12/32"))
        with stage.shell("b") as other:
            asked = scripted("tunnel_reach", "8", DEVICE, "10.77.0.11", "10.77.0.99")
            assert other.run(asked).text == "10.77.0.99"
        shell.run(("ip", "route", "del", "blackhole", "10.77.0.12/32"))
        shell.run(("ip", "-batch", ROUTES_FILE))


def what_broke_comes_back_by_itself(stage: Lab, cloud: Guests) -> None:
    """The rented machine, which never speaks first, starts anew while its cloud cannot be reached."""
    with stage.shell("a") as shell, suppress(ConnectionLost):
        shell.run(("systemctl", "reboot", "--force", "--force"))
    cloud.inside("ip", "link", "set", "eth0", "down")
    with stage.shell("b") as shell:
        assert page(shell, "a") == "", "how would it?"
    cloud.inside("ip", "link", "set", "eth0", "up")
    with stage.shell("a") as shell:
        shell.run(("bash", "-c", SERVE, "serve", "hello again"))
    with stage.shell("b") as shell:
        wait_until(lambda: page(shell, "a") == "hello again", 90)
    assert stage.changes_nothing()


@pytest.fixture
def site(tmp_path: Path, cloud: Guests) -> Iterator[Site]:
    """Give the sample company, whose spare application server is placed in the cloud."""
    site = Site(tmp_path / "site")
    site.environment |= {name: value for name, value in os.environ.items() if name.startswith(("AWS_", "TF_AWS"))}
    site.environment |= {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    (site.directory / "__main__.py").rename(site.directory / "program.py")
    shutil.copy(ROOT / "tests/clouds/dr/__main__.py", site.directory)
    (site.directory / "Capacity.yaml").write_text(CAPACITY.format(here=cloud.here))
    cloud_settings = {"ssh_from": [f"{cloud.here}/32"]}
    site.configure(site.stage, capacity="hosts", warm_start=False, cloud=cloud_settings)
    site.run("understudy", "place", "-s", site.stage)
    move(site, {"app2": RENTED}, "t3.small")
    try:
        yield site
    finally:
        site.end(site.stage)
    assert left_over(cloud.ec2) == []


@pytest.mark.parametrize("cloud", [True], indirect=True, ids=["with the project's image"])
def test_the_sample_company_with_its_spare_application_in_a_cloud(site: Site, cloud: Guests) -> None:
    said = site.pulumi("up", site.stage)
    assert cloud.fault is None
    assert re.search(r"rented: about \d+\.\d\d \w+ a month for 1 machine that always runs", said)
    assert {name for name in Virsh().names("list") if name.startswith(f"{site.stage}-")} == {
        names.domain(site.stage, name) for name in ("lb", "app1", "db1", "db2")
    }
    told = site.outputs(site.stage)
    assert IPv4Address(told["machines"]["app2"]["control_address"]) in cloud.public
    assert "front-without-app1" in told["checks"]["pages"], "the one that is left is the rented one"
    assert [line for each in told["checks"].values() for line in each.values() if not line.startswith("ok")] == []
    site.pulumi("preview", site.stage, "--expect-no-changes")
    site.pulumi("destroy", site.stage)
    assert is_gone(site.stage)
