"""What a change document has of Google, typed word for word with the real `gcloud`, at a Compute Engine on loopback."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.clouds.compute import Compute, serve_compute
from tests.clouds.conftest import ROOT

CASES = yaml.safe_load((ROOT / "tests/cases/by_hand.yaml").read_text(encoding="utf-8"))
ZONE = "zones/europe-west3-a"


class Typist:
    """Types blocks where what only a person can fill in lies."""

    def __init__(self, directory: Path, compute: Compute) -> None:
        self.directory, self.compute = directory, compute
        (directory / "components").symlink_to(ROOT / "components")
        (directory / "dr-lb.authorized-key").write_text("ssh-ed25519 AAAA")
        (directory / "dr-lb.host-key").write_text("PRIVATE")
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("CLOUDSDK_", "GOOGLE_"))},
            "CLOUDSDK_CONFIG": str(directory / "gcloud"),
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE": compute.address,
            "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true",
            "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "true",
        }

    def type(self, case: str, way: str = "do") -> Mapping[str, Any]:
        """Type a case's blocks, each of which has to print what the document says; return what was planned."""
        (found,) = (each for each in CASES if each["case"] == f"gcloud: {case}")
        blocks = [block for block in found["parts"][0][way] if block.startswith("gcloud ")]
        assert blocks, case
        for block in blocks:
            done = subprocess.run(
                ["bash", "--norc"],
                input=block,
                cwd=self.directory,
                env=self.environment,
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
            assert done.stdout.endswith("done\n"), f"{block}{done.stdout}{done.stderr}"
        planned: Mapping[str, Any] = found["planned"]["after"]
        return planned

    def kept(self, address: str) -> dict[str, Any]:
        return self.compute.kept[address]


@pytest.fixture
def typist(tmp_path: Path) -> Iterator[Typist]:
    if not shutil.which("gcloud"):
        pytest.skip("NOT RUN: there is no `gcloud`. What is typed is then shown by tests/changes/test_by_hand.py alone")
    with serve_compute() as compute:
        yield Typist(tmp_path, compute)


def last(link: str) -> str:
    return link.rpartition("/")[2]


def test_a_machine_with_its_network_fence_and_disk_is_typed_changed_and_taken_away(typist: Typist) -> None:
    typist.compute.kept |= {ZONE: {"name": "europe-west3-a"}, f"{ZONE}/instances/dr-db1": {"name": "dr-db1"}}
    there = dict(typist.compute.kept)
    typist.type("a network")
    assert typist.kept("global/networks/dr-network")["autoCreateSubnetworks"] is False
    subnet = typist.type("a subnet in it")
    made = typist.kept("regions/europe-west3/subnetworks/dr-subnet")
    assert (made["ipCidrRange"], last(made["network"])) == (subnet["ipCidrRange"], "dr-network")

    for case, key in (("nothing gets out", "denied"), ("SSH comes in", "allowed")):
        check_rule(typist.type(case), typist, key)
    check_machine(typist.type("a machine"), typist)
    typist.type("a disk")
    disk = typist.kept(f"{ZONE}/disks/dr-db1-data")
    assert (disk["sizeGb"], last(disk["type"]), disk["labels"]) == ("10", "pd-balanced", {"stack": "dr"})

    for case in ("its plug", "a bigger disk", "a machine of another size"):
        typist.type(case)
    acts = [(address.removeprefix(f"{ZONE}/"), told) for address, told in typist.compute.acts]
    (plug, plugged), bigger, *resized = acts
    assert (plug, plugged["deviceName"], last(plugged["source"])) == (
        "instances/dr-db1/attachDisk",
        "data",
        "dr-db1-data",
    )
    assert bigger == ("disks/dr-db1-data/resize", {"sizeGb": "20"})
    verbs = ["instances/dr-lb/stop", "instances/dr-lb/setMachineType", "instances/dr-lb/start"]
    assert [address for address, _ in resized] == verbs
    assert last(resized[1][1]["machineType"]) == "e2-medium"

    for case in ("a disk", "a machine", "SSH comes in", "nothing gets out", "a subnet in it", "a network"):
        typist.type(case, "undo")
    assert typist.compute.kept == there


def test_an_address_that_stays_is_rented_and_given_to_its_machine(typist: Typist) -> None:
    typist.compute.kept |= {ZONE: {"name": "europe-west3-a"}}
    typist.type("a network")
    typist.type("a subnet in it")
    typist.type("a public address")
    typist.kept("regions/europe-west3/addresses/dr-lb-address")["address"] = "203.0.113.8"
    typist.type("a machine whose address stays")
    (card,) = typist.kept(f"{ZONE}/instances/dr-lb")["networkInterfaces"]
    assert [each["natIP"] for each in card["accessConfigs"]] == ["203.0.113.8"]
    assert last(card["subnetwork"]) == "dr-subnet"
    typist.type("a machine whose address stays", "undo")
    typist.type("a public address", "undo")
    assert not [name for name in typist.compute.kept if "lb" in name]


def check_rule(planned: Mapping[str, Any], typist: Typist, key: str) -> None:
    made = typist.kept(f"global/firewalls/{planned['name']}")
    assert (made["direction"], made["targetTags"]) == (planned["direction"], planned["targetTags"])
    for ranges in ("sourceRanges", "destinationRanges"):
        assert made.get(ranges) == planned.get(ranges)
    wanted = planned.get("allows") or planned.get("denies") or ()
    assert made[key] == [{"IPProtocol": each.pop("protocol"), **each} for each in map(dict, wanted)]
    assert made.get("priority", 1000) == planned.get("priority", 1000)


def check_machine(planned: Mapping[str, Any], typist: Typist) -> None:
    made = typist.kept(f"{ZONE}/instances/{planned['name']}")
    assert (last(made["machineType"]), made["hostname"]) == (planned["machineType"], planned["hostname"])
    assert made["labels"] == {key: value for key, value in planned["labels"].items() if not key.startswith("__")}
    assert made["tags"]["items"] == planned["tags"]
    (card,) = made["networkInterfaces"]
    assert (card["networkIP"], last(card["subnetwork"])) == (planned["networkInterfaces"][0]["networkIp"], "dr-subnet")
    assert [each["type"] for each in card["accessConfigs"]] == ["ONE_TO_ONE_NAT"]
    (disk,) = made["disks"]
    wanted = planned["bootDisk"]["initializeParams"]
    found = disk["initializeParams"]
    assert (found["sourceImage"], found["diskSizeGb"]) == (wanted["image"], str(wanted["size"]))
    assert (last(found["diskType"]), disk["autoDelete"], disk["boot"]) == (wanted["type"], True, True)
    told = {each["key"]: each["value"] for each in made["metadata"]["items"]}
    assert (told["understudy-host-key"], told["understudy-authorized-key"]) == ("PRIVATE", "ssh-ed25519 AAAA")
    assert told["startup-script"] == (ROOT / "components/backends/google_first_boot.sh").read_text()
    assert told["enable-oslogin"] == "FALSE"
    assert not made.get("serviceAccounts")
    assert set(made["shieldedInstanceConfig"].values()) == {True}
