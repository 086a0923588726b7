"""A topology is built, its machines are asked, and what they tell is the same topology."""

from __future__ import annotations

import copy
import random
from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from cli.adopt import service_files, unit_services
from components.files import service_names, stack_file, stack_files
from components.site import read_services
from model import rules
from model.adoption import Adoption, adopt, file_text
from model.configuration import StackFile, read_environment
from model.topology import Backup, Heartbeat, Machine, Store, Topology
from provisioners.facts.gather import gather
from tests.adopt.comparing import comparable
from tests.adopt.simulated import Simulated

PROJECT = Path(__file__).parents[2]
SERVICES = read_services(PROJECT)
KNOWN = service_names(PROJECT)
UNITS = {name: tuple(unit.unit for unit in service.units) for name, service in SERVICES.items()}
FILES = service_files(SERVICES)
PATHS = tuple(sorted({path for paths in FILES.values() for path in paths}))
TOLD = sorted(KNOWN & {name for name, units in UNITS.items() if units or FILES.get(name)})

WORD = st.from_regex(r"[a-z][a-z0-9]{0,9}", fullmatch=True)
TABLE = st.from_regex(r"([a-oq-z][a-z0-9_]{0,8}\.)?[a-z_][a-z0-9_]{0,20}", fullmatch=True).filter(
    lambda name: "heartbeat" not in name and not name.startswith("information_schema.")
)
MACHINE_NAME = st.from_regex(rules.NAME, fullmatch=True).filter(lambda name: name not in rules.RESERVED_NAMES)
DOMAIN = st.from_regex(r"[a-z][a-z0-9-]{0,8}[a-z0-9](\.[a-z][a-z0-9]{1,6}){1,2}", fullmatch=True)


def sizes(least: int, most: int) -> st.SearchStrategy[int]:
    return st.integers(least, most) | st.integers(max(least // 1024, 1), most // 1024).map(lambda gib: gib * 1024)


@st.composite
def networks(draw: st.DrawFn) -> IPv4Network:
    prefix = draw(st.integers(16, 27))
    base = draw(st.integers(0, (1 << (prefix - 8)) - 1))
    return IPv4Network(((10 << 24) | (base << (32 - prefix)), prefix))


@st.composite
def backups(draw: st.DrawFn) -> Backup:
    stanza = draw(WORD)
    if draw(st.booleans()):
        return Backup(kind="pgbackrest", location="samples/pgbackrest", stanza=stanza)
    prefix = draw(st.sampled_from(["", "/backups", "/a/b"]))
    return Backup(
        kind="pgbackrest",
        location=f"s3://{draw(WORD)}bucket{prefix}",
        stanza=stanza,
        region="eu-central-1",
        endpoint=draw(st.sampled_from(["", "https://minio.example:9000"])),
    )


@st.composite
def stores(draw: st.DrawFn, name: str, engine: str, machines: list[str]) -> Store:
    tables = draw(st.lists(TABLE, max_size=5, unique=True))
    beat = Heartbeat(table=draw(st.sampled_from(["heartbeat", "my_heartbeats"])), column=draw(WORD))
    if engine == "mariadb":
        tables = [table for table in tables if "." not in table]
    mysqldump = Backup(kind="mysqldump", location="dumps/shop.sql")
    return Store(
        name=name,
        engine=engine,
        version=draw(st.sampled_from(rules.ENGINES[engine].versions)),
        database=name,
        owner=draw(WORD.filter(lambda owner: owner not in ("postgres", "root"))),
        primary=machines[0],
        replicas=tuple(machines[1:]),
        expected_tables=tuple(tables),
        heartbeat=draw(st.none() | st.just(beat)),
        backup=draw(backups()) if engine == "postgresql" else mysqldump,
    )


@st.composite
def topologies(draw: st.DrawFn) -> Topology:
    network = draw(networks())
    names = draw(st.lists(MACHINE_NAME, min_size=1, max_size=6, unique=True))
    hosts = draw(
        st.lists(st.integers(1, network.num_addresses - 2), min_size=len(names), max_size=len(names), unique=True)
    )
    free, made = list(names), []
    for name in draw(
        st.lists(WORD.filter(lambda word: word not in ("postgres", "host", "here")), max_size=2, unique=True)
    ):
        if free:
            engine = draw(st.sampled_from(["postgresql", "postgresql", "mariadb"]))
            count = draw(st.integers(1, len(free))) if engine == "postgresql" else 1
            made.append(draw(stores(name, engine, free[:count])))
            free = free[count:]
    holding = {name for store in made for name in (store.primary, *store.replicas)}
    machines = [
        Machine(
            name=name,
            address=network[host],
            vcpus=draw(st.integers(1, 64)),
            memory_mib=draw(sizes(256, 1 << 20)),
            system_disk_mib=draw(sizes(2048, 1 << 22)),
            data_disk_mib=draw(sizes(256, 1 << 22)) if name in holding or draw(st.booleans()) else 0,
            services=tuple(sorted(draw(st.sets(st.sampled_from(TOLD), max_size=3)))),
        )
        for name, host in zip(names, hosts, strict=True)
    ]
    return Topology(
        network=network,
        domain=draw(DOMAIN),
        machines=tuple(sorted(machines, key=lambda machine: machine.address)),
        stores=tuple(sorted(made, key=lambda store: store.name)),
    )


def adopted(topology: Topology, seed: int = 0) -> Adoption:
    machines = list(topology.machines)
    random.Random(seed).shuffle(machines)
    facts = []
    for number, machine in enumerate(machines):
        simulated = Simulated(topology=topology, machine=machine, units=UNITS, files=FILES, control=10 + number)
        facts.append(gather(simulated.access, simulated.answer, PATHS))
    return adopt(facts, stack="prod", units=unit_services(SERVICES), files=FILES, known_services=KNOWN)


def answered(config: Mapping[str, Any], topology: Topology) -> dict[str, Any]:
    """Answer the questions that no machine can: where this computer finds the backups."""
    values = copy.deepcopy(dict(config))
    for store in topology.stores:
        assert store.backup is not None
        if "path" in values["stores"][store.name]["backup"]:
            values["stores"][store.name]["backup"]["path"] = store.backup.location
    return values


def read(file: StackFile) -> Topology:
    return read_environment({"prod": file}, "prod", services=KNOWN).topology


def asked_paths(topology: Topology) -> set[str]:
    return {
        f"stores.{store.name}.backup.path"
        for store in topology.stores
        if store.backup and not store.backup.location.startswith("s3://")
    }


@given(topologies(), st.integers(0, 5))
@settings(max_examples=80)
def test_what_the_machines_tell_is_the_topology_that_they_were_built_from(topology: Topology, seed: int) -> None:
    adoption = adopted(topology, seed)
    assert {question.key for question in adoption.questions()} == asked_paths(topology)
    found = read(StackFile(name="Pulumi.prod.yaml", config=answered(adoption.config, topology)))
    assert comparable(found) == comparable(topology)
    assert all(machine.existing and machine.existing.user == "admin" for machine in found.machines)


@given(topologies())
@settings(max_examples=40)
def test_the_file_says_what_was_found(topology: Topology) -> None:
    adoption = adopted(topology)
    text = file_text(adoption, command="understudy adopt")
    file = stack_file("Pulumi.prod.yaml", text)
    assert not file.faults
    assert file.config == adoption.config
    loose = yaml.safe_load(text)["config"]
    assert {key.removeprefix("understudy:"): value for key, value in loose.items()} == adoption.config


def test_the_sample_company_is_adopted_as_it_was_built() -> None:
    environment = read_environment(stack_files(PROJECT), "prod", services=KNOWN)
    topology = replace(environment.topology, pages=())
    adoption = adopted(topology)
    assert {question.key for question in adoption.questions()} == {"stores.shop.backup.path"}
    found = read(StackFile(name="Pulumi.prod.yaml", config=answered(adoption.config, topology)))
    assert comparable(found) == comparable(topology)
    assert [remark.text for remark in adoption.remarks if not remark.path] == [
        "pages: no machine tells which pages must come. Add those that `up` shall ask for."
    ]
    assert found.machine("lb").services == ("haproxy", "sshd")


def test_the_head_of_the_file_says_what_becomes_of_existing_machines_and_what_is_not_in_it() -> None:
    text = file_text(adopted(read_environment(stack_files(PROJECT), "prod", services=KNOWN).topology), command="x")
    assert text.splitlines()[:6] == [
        "# Written by `x` from what the machines told.",
        '# 1 open: each is marked QUESTION and has "?", or a value that is not taken yet.',
        "# Sizes have units: MiB, GiB, TiB. Machines that exist are never created or destroyed;",
        "# of what is on them, only the services listed below are changed.",
        "# pages: no machine tells which pages must come. Add those that `up` shall ask for.",
        "config:",
    ]
