"""What a killed run left in Azure is swept: what this very state was making in the stack's groups, and nothing else."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import pytest

from cli.rented import swept_clouds
from model.errors import UnderstudyError
from model.rented import mark
from provisioners.clouds import azure_account
from provisioners.clouds.azure_account import Account
from tests.clouds.arm import ADDRESSES, CARDS, DISKS, FENCES, MACHINES, NETWORKS, PAYS, TOKEN, Arm, serve_arm

STACK = "understudy/dr/a2ad7316"
OWNER, OTHER = mark(STACK), "understudy-dr-00000000"
GROUPS = f"/subscriptions/{PAYS}/resourceGroups"
PROVIDER = {
    "urn": "urn:pulumi:dr::understudy::pulumi:providers:azure::azure-west",
    "id": "1",
    "type": "pulumi:providers:azure",
    "inputs": {"subscriptionId": PAYS},
}
_TYPES = {
    "group": "core/resourceGroup:ResourceGroup",
    "address": "network/publicIp:PublicIp",
    "network": "network/virtualNetwork:VirtualNetwork",
    "subnet": "network/subnet:Subnet",
    "fence": "network/networkSecurityGroup:NetworkSecurityGroup",
    "around": "network/subnetNetworkSecurityGroupAssociation:SubnetNetworkSecurityGroupAssociation",
    "card": "network/networkInterface:NetworkInterface",
    "machine": "compute/linuxVirtualMachine:LinuxVirtualMachine",
    "disk": "compute/managedDisk:ManagedDisk",
    "plug": "compute/dataDiskAttachment:DataDiskAttachment",
}
"""All that a stack has, in the order in which it is made."""
ORDER = list(_TYPES)
SAID = {
    "group": [f"group {OWNER}-west"],
    "address": ["address db1"],
    "network": ["network network"],
    "subnet": ["subnet subnet"],
    "fence": ["fence fence"],
    "around": ["fence around subnet"],
    "card": ["card db1"],
    "machine": ["machine db1", "disk db1-system"],
    "disk": ["disk db1-data"],
    "plug": ["plug on db1 of db1-data"],
}
"""What is said of each that a run was killed in the making of."""


def identifiers(owner: str = OWNER) -> dict[str, str]:
    """Return what Azure calls each thing of a stack, and Terraform's provider what Azure has no name for."""
    group = f"{GROUPS}/{owner}-west"
    network, machine = f"{group}{NETWORKS}/network", f"{group}{MACHINES}/db1"
    return {
        "group": group,
        "address": f"{group}{ADDRESSES}/db1",
        "network": network,
        "subnet": f"{network}/subnets/subnet",
        "fence": f"{group}{FENCES}/fence",
        "around": f"{network}/subnets/subnet",
        "card": f"{group}{CARDS}/db1",
        "machine": machine,
        "system": f"{group}{DISKS}/db1-system",
        "disk": f"{group}{DISKS}/db1-data",
        "plug": f"{machine}/dataDisks/db1-data",
    }


def told(kind: str) -> dict[str, Any]:
    """Return what Terraform's provider is told of it."""
    ids, group = identifiers(), {"resourceGroupName": f"{OWNER}-west"}
    inputs: dict[str, dict[str, Any]] = {
        "group": {"name": f"{OWNER}-west"},
        "address": {"name": "db1", **group},
        "network": {"name": "network", **group},
        "subnet": {"name": "subnet", "virtualNetworkName": "network", **group},
        "fence": {"name": "fence", **group},
        "around": {"subnetId": ids["subnet"], "networkSecurityGroupId": ids["fence"]},
        "card": {"name": "db1", **group},
        "machine": {"name": "db1", "osDisk": {"name": "db1-system"}, **group},
        "disk": {"name": "db1-data", **group},
        "plug": {"virtualMachineId": ids["machine"], "managedDiskId": ids["disk"], "lun": 0},
    }
    return inputs[kind]


def resource(kind: str) -> dict[str, Any]:
    provider = f"{PROVIDER['urn']}::{PROVIDER['id']}"
    return {"urn": f"u::{kind}", "type": f"azure:{_TYPES[kind]}", "inputs": told(kind), "provider": provider}


def deployment(known: Collection[str], begun: Collection[str] = (), operation: str = "creating") -> dict[str, Any]:
    """Return a state that knows some things, and was making others when a run was killed."""
    has = [{**resource(kind), "id": identifiers()[kind]} for kind in known]
    pending = [{"type": operation, "resource": resource(kind)} for kind in begun]
    return {"deployment": {"resources": [PROVIDER, *has], "pending_operations": pending}}


def make(arm: Arm, owner: str, kinds: Collection[str]) -> None:
    """Make some of a stack's things, as Azure tells of them: its services for machines shout the group's name."""
    ids = identifiers(owner)
    shouted = {kind: key.replace(f"{owner}-west", f"{owner}-west".upper()) for kind, key in ids.items()}
    fence = {"networkSecurityGroup": {"id": ids["fence"]}} if "around" in kinds else {}
    disks = [{"lun": 0, "name": "db1-data", "managedDisk": {"id": shouted["disk"]}}] if "plug" in kinds else []
    system = {"name": "db1-system", "managedDisk": {"id": shouted["system"]}}
    card = {"subnet": {"id": ids["subnet"]}, "publicIPAddress": {"id": ids["address"]}}
    bodies: Mapping[str, dict[str, Any]] = {
        "subnet": {"addressPrefix": "10.0.0.0/24", **fence},
        "card": {"ipConfigurations": [{"name": "prod", "properties": card}]},
        "machine": {
            "storageProfile": {"osDisk": system, "dataDisks": disks},
            "networkProfile": {"networkInterfaces": [{"id": ids["card"]}]},
        },
    }
    for kind in (each for each in kinds if each not in {"around", "plug"}):
        key = shouted[kind] if kind == "disk" else ids[kind]
        arm.kept[key] = {"tags": {"owner": owner}, "properties": bodies.get(kind, {})}
    if "machine" in kinds:
        arm.kept[shouted["system"]] = {"properties": {"osType": "Linux"}}


@pytest.fixture(scope="module")
def served() -> Iterator[Arm]:
    with serve_arm() as found:
        yield found


@pytest.fixture
def arm(served: Arm, monkeypatch: pytest.MonkeyPatch) -> Arm:
    served.forget()
    make(served, OTHER, ORDER)
    monkeypatch.setattr(azure_account, "_LOOK_SECONDS", 0)
    monkeypatch.setattr(azure_account, "_BUSY_SECONDS", 5)
    monkeypatch.setattr(azure_account, "_ACT_SECONDS", 20)
    monkeypatch.setattr(azure_account, "log_in", lambda *_: account_of(served))
    return served


def account_of(arm: Arm) -> Account:
    return Account(subscription=PAYS, token=TOKEN, address=arm.address)


def swept(state: dict[str, Any], *, act: bool = True, said: list[str] | None = None) -> list[str]:
    found = swept_clouds(STACK, state, None, print if said is None else said.append, act=act)
    assert all(line.endswith(f" in Azure {PAYS}") for line in found)
    return [short(line.removesuffix(f" in Azure {PAYS}")) for line in found]


def short(line: str) -> str:
    return line.replace(f"{OWNER}-west/", "").replace(f"{OWNER}-west/".upper(), "")


def mine(arm: Arm) -> set[str]:
    return {key for key in arm.kept if f"/{OWNER}-west/".lower() in f"{key}/".lower()}


@pytest.mark.parametrize("kind", ORDER)
def test_what_was_being_made_goes_and_what_the_state_knows_stays(arm: Arm, kind: str) -> None:
    """A run makes one after another; whatever it was killed in, the next one finds all but that."""
    before = ORDER[: ORDER.index(kind)]
    make(arm, OWNER, before)
    wanted = dict(arm.kept)
    make(arm, OWNER, [*before, kind])
    assert arm.kept != wanted
    assert swept(deployment(before, [kind])) == SAID[kind]
    assert arm.kept == wanted
    acts = list(arm.acts)
    assert swept(deployment(before)) == []
    assert arm.acts == acts


@pytest.mark.parametrize("kind", ORDER)
def test_what_another_computers_state_may_have_stays_and_is_told(arm: Arm, kind: str) -> None:
    made = ORDER[: ORDER.index(kind) + 1]
    make(arm, OWNER, made)
    before, said = dict(arm.kept), list[str]()
    assert swept(deployment(made[:-1]), said=said) == []
    assert (arm.kept, arm.acts) == (before, [])
    assert [short(line.partition(" in Azure")[0]) for line in said] == SAID[kind][:1], "a system disk is its machine's"
    assert all("was not made by this state: it stays. " in line for line in said)


@pytest.mark.parametrize("kind", ORDER[1:])
def test_what_is_in_something_that_the_state_does_not_have_is_no_work_of_its(arm: Arm, kind: str) -> None:
    make(arm, OWNER, ORDER)
    before = dict(arm.kept)
    assert swept(deployment([], [kind])) == []
    assert (arm.kept, arm.acts) == (before, [])


def test_all_that_was_being_made_goes_in_the_order_in_which_azure_lets_it_go(arm: Arm) -> None:
    made = ["group", "network", "address", "subnet", "fence", "card", "machine", "disk"]
    make(arm, OWNER, made)
    assert swept(deployment(made[:2], made[2:])) == [
        *("machine db1", "disk db1-data", "disk db1-system", "card db1", "address db1", "subnet subnet", "fence fence")
    ]
    assert mine(arm) == {identifiers()["group"], identifiers()["network"]}


def test_where_it_may_only_be_named_all_stays(arm: Arm) -> None:
    make(arm, OWNER, ORDER)
    before = dict(arm.kept)
    assert swept(deployment([], ORDER), act=False) == [
        *("machine db1", "disk db1-data", "card db1", "address db1", "subnet subnet", "network network"),
        *("fence fence", f"group {OWNER}-west"),
    ]
    assert (arm.kept, arm.acts) == (before, [])


def test_what_the_state_knows_stays_with_its_system_disk(arm: Arm) -> None:
    make(arm, OWNER, ORDER)
    before = dict(arm.kept)
    assert swept(deployment(ORDER)) == []
    assert (arm.kept, arm.acts) == (before, [])


def test_what_is_being_imported_is_somebodys_and_stays(arm: Arm) -> None:
    make(arm, OWNER, ["group", "disk"])
    assert swept(deployment(["group"], ["disk"], "importing")) == []
    assert swept(deployment(["group"], ["disk"], "creating")) == ["disk db1-data"]


def test_the_system_disk_of_a_machine_that_was_being_taken_away(arm: Arm) -> None:
    """Terraform's provider takes it away after the machine; the next one would get a disk of the same name."""
    before = ORDER[: ORDER.index("machine") + 1]
    make(arm, OWNER, before)
    state = deployment(before, ["machine"], "deleting")
    assert swept(state) == [], "the machine is still there"
    del arm.kept[identifiers()["machine"]]
    assert swept(state) == ["disk db1-system"]


def test_a_disk_that_is_plugged_in_may_have_data_and_stays(arm: Arm) -> None:
    make(arm, OWNER, ORDER)
    before, said = dict(arm.kept), list[str]()
    assert swept(deployment([each for each in ORDER if each not in {"disk", "plug"}], ["disk"]), said=said) == []
    assert (arm.kept, arm.acts) == (before, [])
    assert [short(line.partition(" in Azure")[0]) for line in said] == ["disk db1-data"]


def test_only_the_one_plug_is_pulled(arm: Arm) -> None:
    make(arm, OWNER, ORDER)
    other = {"lun": 1, "name": "scratch", "managedDisk": {"id": f"{identifiers()['group']}{DISKS}/scratch"}}
    profile = arm.kept[identifiers()["machine"]]["properties"]["storageProfile"]
    profile["dataDisks"].append(other)
    assert swept(deployment(ORDER[:-1], ["plug"])) == ["plug on db1 of db1-data"]
    assert arm.acts == [("POST", identifiers()["machine"])]
    assert profile["dataDisks"] == [other]


def test_a_fence_is_never_taken_off_while_a_card_is_behind_it(arm: Arm) -> None:
    make(arm, OWNER, ORDER)
    before = dict(arm.kept)
    with pytest.raises(
        UnderstudyError, match=r"in it is .*-west/db1; .*az vm deallocate.*--remove networkSecurityGroup"
    ):
        swept(deployment([each for each in ORDER if each != "around"], ["around"]))
    assert (arm.kept, arm.acts) == (before, [])


def test_a_fence_is_taken_off_by_itself(arm: Arm) -> None:
    known = ORDER[: ORDER.index("around")]
    make(arm, OWNER, [*known, "around"])
    assert swept(deployment(known, ["around"])) == ["fence around subnet"]
    assert arm.acts == [("PUT", identifiers()["subnet"])]
    assert arm.kept[identifiers()["subnet"]]["properties"] == {"addressPrefix": "10.0.0.0/24"}


@pytest.mark.parametrize("kind", [each for each in ORDER if each not in {"group", "around", "plug", "subnet"}])
def test_a_group_with_something_in_it_stays(arm: Arm, kind: str) -> None:
    make(arm, OWNER, ["group", kind])
    before = dict(arm.kept)
    assert swept(deployment([], ["group"])) == []
    arm.lags = next(key for key in mine(arm) if key != identifiers()["group"]).rpartition("/")[2]
    assert swept(deployment([], ["group"])) == [], "what Azure does not list with all others yet"
    assert (arm.kept, arm.acts) == (before, [])


def test_a_group_with_something_that_no_stack_makes_stays(arm: Arm) -> None:
    make(arm, OWNER, ["group"])
    arm.kept[f"{identifiers()['group']}/providers/Microsoft.Sql/servers/precious"] = {}
    assert swept(deployment([], ["group"])) == []
    assert arm.acts == []


def test_a_network_with_a_subnet_stays(arm: Arm) -> None:
    make(arm, OWNER, ["group", "network", "subnet"])
    assert swept(deployment(["group"], ["network"])) == []
    assert arm.acts == []


def test_a_subnet_of_a_network_that_the_state_does_not_have_stays(arm: Arm) -> None:
    make(arm, OWNER, ["group", "network", "subnet"])
    assert swept(deployment(["group"], ["subnet"])) == []
    assert arm.acts == []


def test_a_group_of_another_name_is_none_of_the_stacks(arm: Arm) -> None:
    arm.kept[f"{GROUPS}/precious"] = {"tags": {"owner": OWNER}}
    arm.kept[f"{GROUPS}/precious{ADDRESSES}/db1"] = {}
    assert swept(deployment([], ORDER), act=False) == []


def test_a_group_that_is_going_already_is_let_go(arm: Arm) -> None:
    make(arm, OWNER, ["group", "disk"])
    arm.kept[identifiers()["group"]]["properties"] = {"provisioningState": "Deleting"}
    assert swept(deployment(["group"], ["disk"])) == []
    assert arm.acts == []


@pytest.mark.parametrize("kind", ["machine", "card"])
@pytest.mark.parametrize("looks", [0, 3])
def test_it_is_waited_for(arm: Arm, kind: str, looks: int) -> None:
    """The services for machines say 202 until it is done, those for networks how it goes."""
    arm.looks, before = looks, ORDER[: ORDER.index(kind)]
    make(arm, OWNER, [*before, kind])
    assert swept(deployment(before, [kind])) == SAID[kind]
    assert [left for left, _ in arm.going.values()] == [-1] * len(arm.acts), "asked until it was done, and no more"


@pytest.mark.parametrize(("after", "seconds"), [("", 5), ("0", 0), ("7", 7), ("3600", 30), ("tomorrow", 5)])
def test_it_is_looked_after_when_azure_says_but_soon(
    arm: Arm, monkeypatch: pytest.MonkeyPatch, after: str, seconds: int
) -> None:
    waited: list[float] = []
    monkeypatch.setattr(azure_account, "_LOOK_SECONDS", 5)
    monkeypatch.setattr(azure_account, "pause", lambda long, _: waited.append(long))
    arm.after = after
    make(arm, OWNER, ["group", "fence"])
    assert swept(deployment(["group"], ["fence"])) == SAID["fence"]
    assert waited == [seconds] * 2


@pytest.mark.parametrize("ends", ["Failed", "Canceled"])
def test_what_azure_does_not_do_is_told_in_its_words(arm: Arm, ends: str) -> None:
    arm.ends = ends
    make(arm, OWNER, ["group", "fence"])
    with pytest.raises(UnderstudyError, match=r"InternalExecutionError: Azure could not\."):
        swept(deployment(["group"], ["fence"]))


def test_what_azure_refuses_is_told_in_its_words(arm: Arm) -> None:
    """Another one's card has the subnet, which Azure does not take away then."""
    make(arm, OWNER, ["group", "network", "subnet", "address", "card"])
    with pytest.raises(UnderstudyError, match=r"InUseSubnetCannotBeDeleted: .* is in use by .*/networkInterfaces/db1"):
        swept(deployment(["group", "network"], ["subnet"]))
    assert arm.acts == []


@pytest.mark.parametrize(
    "refused", [(409, "Conflict"), (400, "NicReservedForAnotherVm"), (429, "TooManyRequests"), (409, "RetryableError")]
)
def test_what_is_still_held_is_asked_for_again(arm: Arm, refused: tuple[int, str]) -> None:
    make(arm, OWNER, ["group", "address", "card"])
    arm.refusals = [refused] * 3
    assert swept(deployment(["group", "address"], ["card"])) == SAID["card"]
    assert arm.refusals == []


def test_what_is_held_for_good_is_given_up(arm: Arm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(azure_account, "_BUSY_SECONDS", 0.05)
    make(arm, OWNER, ["group", "address", "card"])
    arm.refusals = [(409, "AnotherOperationInProgress")] * 1000
    with pytest.raises(UnderstudyError, match="AnotherOperationInProgress of /subscriptions/"):
        swept(deployment(["group", "address"], ["card"]))


@pytest.mark.parametrize("kind", ["disk", "fence"])
def test_an_act_without_an_end_is_given_up(arm: Arm, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(azure_account, "_ACT_SECONDS", 0.05)
    arm.looks = 100000
    make(arm, OWNER, ["group", kind])
    with pytest.raises(UnderstudyError, match=r"takes longer than 0 s"):
        swept(deployment(["group"], [kind]))


def test_the_token_goes_nowhere_else(arm: Arm) -> None:
    arm.elsewhere = "http://elsewhere.example"
    make(arm, OWNER, ["group", "disk"])
    with pytest.raises(UnderstudyError, match=r"what says how it goes is elsewhere, at elsewhere\.example"):
        swept(deployment(["group"], ["disk"]))


def test_what_is_gone_meanwhile_is_gone(arm: Arm) -> None:
    make(arm, OWNER, ["group"])
    account_of(arm).act("DELETE", f"/resourceGroups/{OWNER}-west{DISKS}/db1-data", "2023-04-02")
    assert arm.acts == []
    with pytest.raises(UnderstudyError, match="ResourceNotFound"):
        account_of(arm).act("POST", f"/resourceGroups/{OWNER}-west{MACHINES}/db1/attachDetachDataDisks", "2024-07-01")


def test_what_has_the_same_name_in_another_of_the_stacks_groups_stays(arm: Arm) -> None:
    make(arm, OWNER, ["group", "fence"])
    arm.kept |= {key.replace("-west", "-east"): dict(arm.kept[key]) for key in mine(arm)}
    assert swept(deployment(["group"], ["fence"])) == ["fence fence"]
    assert arm.acts == [("DELETE", identifiers()["fence"])]


def test_without_credentials_it_is_said(arm: Arm, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(*_: object) -> Account:
        raise UnderstudyError(where="Azure: credentials", found="none", todo="Run `az login`.")

    monkeypatch.setattr(azure_account, "log_in", nobody)
    make(arm, OWNER, ["group", "disk"])
    said: list[str] = []
    assert swept(deployment(["group"], ["disk"]), said=said) == []
    (line,) = said
    assert line.startswith(f"Azure {PAYS}: what a killed run left is not looked for: Azure: credentials: none")
    assert arm.acts == []


def test_no_provider_in_the_state_means_that_nothing_was_begun(arm: Arm) -> None:
    make(arm, OWNER, ["group"])
    state = deployment([], ["group"])
    state["deployment"]["resources"] = []
    assert swept(state) == []
    assert arm.acts == []
