"""A state and a lock file without a host that is gone: nothing dangles, and nothing of another host is dropped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.files import load_environment
from model.host_uri import LOCAL, host_uri
from model.lost import lost_data, machines_on, placement_without, without_host
from model.placement import Accelerator, PinnedSeed, PlacedHost, PlacedMachine, Placement, as_values, read_placement
from model.topology import Access, Topology

URN = "urn:pulumi:stage::understudy::{}::{}"
STACK = URN.format("pulumi:pulumi:Stack", "understudy-stage")
TCG = Accelerator(kind="tcg", reason="tests")
HOSTS = {
    name: PlacedHost(name=name, access=Access(host=f"{name}.example"), accelerator=TCG) for name in ("rack", "desk")
}
URIS = {"here": LOCAL} | {name: host_uri(host) for name, host in HOSTS.items()}

State = list[dict[str, Any]]


class Program:
    """Registers what the real program does, as far as hosts matter: of each thing on a host, which one it is."""

    def __init__(self, **uris: str) -> None:
        self.uris = URIS | uris
        self.resources: State = [{"urn": STACK, "type": "pulumi:pulumi:Stack", "custom": False}]
        self.host: list[str] = [""]

    def add(self, kind: str, name: str, parent: str = STACK, host: str = "", **more: Any) -> str:
        above = "" if parent == STACK else f"{parent.split('::')[2]}$"
        urn = URN.format(f"{above}{kind}", name)
        custom = "components" not in kind
        known = {"urn": urn, "type": kind, "custom": custom, "parent": parent}
        self.resources.append({**known, **({"id": name} if custom else {}), **more})
        self.host.append(host)
        return urn

    def ground(self, host: str) -> tuple[str, list[str]]:
        suffix = "" if host == "here" else f"-{host}"
        network = self.add("understudy:components:Network", f"network{suffix}")
        inputs = {} if host == "here" else {"host": host, "host_uri": self.uris[host]}
        provider = self.add(
            "pulumi:providers:libvirt", f"libvirt{suffix}", network, host, inputs={"uri": self.uris[host]}
        )
        fence = self.add("understudy:index:Fence", f"fence{suffix}", network, host, inputs=inputs)
        dialled = f"{provider}::libvirt{suffix}"
        bridges = [
            self.add(
                "libvirt:index/network:Network",
                f"{card}{suffix}",
                network,
                host,
                provider=dialled,
                dependencies=[fence],
            )
            for card in ("mirror", "control")
        ]
        return dialled, bridges

    def machine(self, name: str, host: str, ground: tuple[str, list[str]], controller: str) -> tuple[str, str]:
        above = self.add("understudy:components:Machine", name)
        key = self.add("understudy:index:SshKeypair", f"{name}-host", above, f"{host}, by its machine")
        return self.started(name, host, ground, [controller, key], above)

    def started(
        self, name: str, host: str, ground: tuple[str, list[str]], keys: list[str], above: str, **more: Any
    ) -> tuple[str, str]:
        where = {} if host == "here" else {"host": host, "host_uri": self.uris[host]}
        disk = self.add("libvirt:index/volume:Volume", f"{name}-system", above, host, provider=ground[0], **more)
        domain = self.add(
            "libvirt:index/domain:Domain",
            name,
            above,
            host,
            provider=ground[0],
            dependencies=[disk, *ground[1]],
            propertyDependencies={"disks": [disk]},
            **more,
        )
        boot = self.add(
            "understudy:index:Boot",
            name,
            above,
            host,
            inputs={**where, "connection": {"name": name, "domain": f"{self.uris[host]}#stage-{name}"}},
            dependencies=[*keys, domain, disk],
            propertyDependencies={"host_private_key": keys[1:], "domain_id": [domain], "volume_ids": [disk]},
            **more,
        )
        return domain, boot

    def service(self, name: str, machine: str, host: str, anchor: str, after: Sequence[str], **more: Any) -> str:
        above = self.add("understudy:components:Service", f"{machine}:{name}")
        return self.add(
            "understudy:index:Service",
            f"{machine}:{name}",
            above,
            host,
            inputs={"connection": {"name": machine, "domain": f"{self.uris[host]}#stage-{machine}"}, "generation": "1"},
            dependencies=list(after),
            propertyDependencies={"connection": list(after[:1]), "generation": list(after[:1]), "files": []},
            deletedWith=anchor,
            **more,
        )


def tunnels(made: Program, on: Mapping[str, str], machines: Mapping[str, tuple[str, str]]) -> None:
    """Add what machines on several computers have: each a key of its own, and the public ones of all others."""
    above = made.add("understudy:components:Tunnels", "tunnels")
    keys = {
        name: made.add("understudy:index:WireguardKeypair", f"{name}-tunnel", above, host) for name, host in on.items()
    }
    for name, (domain, boot) in machines.items():
        inputs = {"connection": {"name": name, "domain": f"{made.uris[on[name]]}#stage-{name}"}}
        known = {"connection": [boot], "tunnel_key": [keys[name]], "peers": [*keys.values()]}
        after = {"dependencies": [boot, *keys.values()], "propertyDependencies": known, "deletedWith": domain}
        made.add("understudy:index:Tunnel", f"{name}:tunnel", above, on[name], inputs=inputs, **after)


@st.composite
def states(draw: st.DrawFn) -> tuple[State, list[str], list[dict[str, Any]]]:
    """Return a state's resources, the host of each, and operations that were cut off."""
    names = draw(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=5, unique=True))
    on = {name: draw(st.sampled_from(sorted(URIS))) for name in names}
    made = Program()
    grounds = {
        host: made.ground(host) for host in sorted({*on.values(), *draw(st.sets(st.sampled_from(sorted(URIS))))})
    }
    controller = made.add("understudy:index:SshKeypair", "controller")
    machines = {name: made.machine(name, host, grounds[host], controller) for name, host in on.items()}
    before: list[str] = []
    for name in draw(st.permutations(names)):
        domain, boot = machines[name]
        before.append(made.service("web", name, on[name], domain, [boot, *before]))
        made.add("understudy:index:Thing", name, host=on[name], deletedWith=domain)  # known by its machine alone
    tunnels(made, on, machines)
    made.add("understudy:index:Report", "report", dependencies=before, propertyDependencies={"document": before})
    for name in draw(st.sets(st.sampled_from(names))):  # moved: what it was elsewhere is still to be deleted
        old = draw(st.sampled_from(sorted(grounds)))
        above = next(each["urn"] for each in made.resources if each["urn"].endswith(f"Machine::{name}"))
        key = URN.format("understudy:components:Machine$understudy:index:SshKeypair", f"{name}-host")
        made.started(name, old, grounds[old], [controller, key], above, delete=True)
    begun = draw(st.lists(st.integers(1, len(made.resources) - 1), max_size=3, unique=True))
    pending = [{"type": "updating", "resource": made.resources[index]} for index in begun]
    return made.resources, made.host, pending


def dangling(resources: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what Pulumi would find: each reference to what does not stand before it."""
    urns, providers, found = set[str](), set[str](), []
    for each in resources:
        by_property = (urn for urns in (each.get("propertyDependencies") or {}).values() for urn in urns)
        wanted = {
            *each.get("dependencies", ()),
            *by_property,
            *filter(None, (each.get("parent"), each.get("deletedWith"))),
        }
        found += [f"{each['urn']} refers to {urn}" for urn in wanted - urns]
        if each.get("provider") and each["provider"] not in providers:
            found.append(f"{each['urn']} has no provider")
        urns.add(each["urn"])
        providers.add(f"{each['urn']}::{each.get('id')}")
    return found


def same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Tell whether two are the same but for what they refer to."""
    references = ("dependencies", "propertyDependencies")
    return {key: one[key] for key in one if key not in references} == {
        key: other[key] for key in other if key not in references
    }


@given(state=states(), lost=st.sampled_from(["rack", "desk"]))
def test_nothing_dangles_and_nothing_of_another_host_is_dropped(
    state: tuple[State, list[str], list[dict[str, Any]]], lost: str
) -> None:
    resources, hosts, pending = state
    assert dangling(resources) == []
    found = without_host({"version": 3, "deployment": {"resources": resources, "pending_operations": pending}}, lost)
    kept = found["deployment"]["resources"]
    assert dangling(kept) == []
    booted = [each for each, host in zip(resources, hosts, strict=True) if ":Boot::" in each["urn"] and host != lost]
    moved = {f"{each['urn'].rpartition('::')[2]}-host" for each in booted}
    expected = [
        each
        for each, host in zip(resources, hosts, strict=True)
        if host != lost and (host != f"{lost}, by its machine" or each["id"] in moved)
    ]
    extra = [each["urn"] for each in kept if not any(same(each, other) for other in expected)]
    assert extra == [], "something of the lost host is there still"
    missing = [each["urn"] for each in expected if not any(same(each, other) for other in kept)]
    assert missing == []
    there = {each["urn"] for each in kept}
    for operation in found["deployment"].get("pending_operations", ()):
        resource = operation["resource"]
        known = any(same(resource, each) for each in expected)
        assert known or "Thing" in resource["urn"], "it is of the lost host"
        assert {*resource.get("dependencies", ()), *filter(None, [resource.get("deletedWith")])} <= there
    again = without_host(found, lost)
    assert again == found, "a second time there is nothing to do"


NETWORK = IPv4Network("198.18.7.0/24")
PIN = PinnedSeed(
    store="shop",
    snapshot="20261123-020000F",
    taken_at=datetime(2026, 11, 23, 2, tzinfo=UTC),
    repository_digest="ab" * 16,
)


def placement(**on: str) -> Placement:
    machines = tuple(
        PlacedMachine(name=name, host=host, control_address=NETWORK[10 + at])
        for at, (name, host) in enumerate(sorted(on.items()))
    )
    used = tuple(HOSTS[name] for name in sorted({*on.values()} - {"here"}))
    return Placement(
        control_network=NETWORK, accelerator=TCG, image="0123456789ab", machines=machines, seeds=(PIN,), hosts=used
    )


def test_the_lock_file_marks_it_and_keeps_all_else() -> None:
    before = placement(db1="rack", db2="desk", lb="here")
    found = placement_without(before, [HOSTS["rack"]])
    assert {machine.name: machine.host for machine in found.machines} == {"db2": "desk", "lb": "here"}
    assert (found.hosts, found.lost, found.seeds) == ((HOSTS["desk"],), (HOSTS["rack"],), before.seeds)
    assert read_placement("Placement.stage.lock.yaml", as_values(found)) == found
    both = placement_without(found, [HOSTS["desk"]])
    assert both.lost == (HOSTS["desk"], HOSTS["rack"])
    assert read_placement("Placement.stage.lock.yaml", as_values(both)) == both
    assert placement_without(both, [HOSTS["rack"]]) == both, "a second time there is nothing to do"


def test_machines_are_known_from_either_until_both_have_forgotten_them() -> None:
    made = Program()
    ground = made.ground("rack")
    made.machine("db1", "rack", ground, "controller")
    old = URN.format("understudy:components:Machine", "moved")
    made.started("moved", "rack", ground, [], old, delete=True)
    state = {"deployment": {"resources": made.resources}}
    assert machines_on(state, placement(db1="rack", db2="rack", lb="here"), ["rack"]) == ("db1", "db2")
    assert machines_on(state, placement(lb="here"), ["rack"]) == machines_on(state, None, ["rack"]) == ("db1",)
    assert machines_on(without_host(state, "rack"), placement(lb="here"), ["rack"]) == ()


@pytest.fixture(scope="module")
def topology() -> Topology:
    return load_environment(Path(__file__).parents[2], "prod").topology


FILLED = "filled anew from 20261123-020000F of 2026-11-23 02:00 UTC"


@pytest.mark.parametrize(
    ("lost", "seeds", "words"),
    [
        (["db1"], [PIN], f"its data was on db1; {FILLED}; db2, which has it still, follows that"),
        (["db1", "db2"], [PIN], f"its data was on db1; {FILLED}"),
        (["db1"], [], "its data was on db1; it begins EMPTY; db2, which has it still, follows that"),
        (["db2"], [PIN], "db2 follows db1 anew; no data is lost"),
    ],
)
def test_what_becomes_of_a_store(topology: Topology, lost: list[str], seeds: list[PinnedSeed], words: str) -> None:
    (found,) = lost_data(topology, lost, seeds, mirror=True)
    assert (found.store, found.words, found.last) == ("shop", words, False)
    (live,) = lost_data(topology, lost, seeds, mirror=False)
    assert live.last == (lost == ["db1"]), "a replica of what is no copy has the newest data"
    assert lost_data(topology, ["lb"], seeds, mirror=False) == ()
