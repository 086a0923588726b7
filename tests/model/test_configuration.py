"""The stacks' files are read whole, and whatever is wrong with them is told at once, never by another exception."""

from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from components.files import service_names, stack_file, stack_files
from model.configuration import KEYS, StackFile, read_environment, with_pulumi_values
from model.environment import Environment, Settings
from model.errors import ConfigurationError, Fault
from model.topology import Access, Backup, Heartbeat
from tests.reading import cases

ROOT = Path(__file__).parents[2]
CASES = ROOT / "tests" / "cases"
SERVICES = frozenset({"haproxy", "app", "heartbeat"})
VALID = {stack: (CASES / f"valid.{stack}.yaml").read_text(encoding="utf-8") for stack in ("prod", "stage")}
TABLE = cases("configuration.yaml")


def environment(texts: dict[str, str], stack: str = "stage") -> Environment:
    files = {name: stack_file(f"Pulumi.{name}.yaml", text) for name, text in texts.items()}
    return read_environment(files, stack, services=SERVICES)


def test_the_projects_own_files_are_free_of_faults() -> None:
    files, services = stack_files(ROOT), service_names(ROOT)
    prod = read_environment(files, "prod", services=services)
    stage = read_environment(files, "stage", services=services)
    assert [machine.name for machine in prod.topology.machines] == ["lb", "app1", "app2", "db1", "db2"]
    assert (prod.mirror_of, prod.settings.seed) == ("", "empty")
    assert (stage.mirror_of, stage.settings.seed) == ("prod", "newest")
    assert stage.topology == prod.topology


def test_every_key_arrives_in_the_topology() -> None:
    prod = environment(VALID, "prod").topology
    old = prod.machine("old")
    assert (old.address, old.vcpus, old.memory_mib, old.data_disk_mib) == (
        IPv4Address("10.20.0.41"),
        8,
        65536,
        1024 * 1024,
    )
    assert old.existing == Access(host="old.example", port=22, user="admin", sudo=True, jump="")
    assert prod.machine("app1").system_disk_mib == 4096
    assert prod.machine("db1").services == ("heartbeat",)
    news, papers, shop = prod.stores
    assert news.backup == Backup(kind="mysqldump", location="s3://news-backups/nightly", region="eu-central-1")
    assert (papers.version, papers.owner, papers.database) == ("", "www-data", "papers")
    assert (shop.version, shop.replicas, shop.expected_tables) == ("15", ("db2",), ("orders", "public.products"))
    assert shop.heartbeat == Heartbeat(table="heartbeat", column="beat_at")
    assert prod.pages[0].stopping == ("app1/app.service",)


def test_a_mirror_builds_what_exists_elsewhere() -> None:
    stage = environment(VALID)
    assert stage.settings == Settings(capacity="here", seed="newest", warm_start=True)
    assert all(machine.existing is None for machine in stage.topology.machines)


def test_a_mirror_of_a_mirror_has_the_same_topology() -> None:
    texts = {**VALID, "dr": "config:\n  understudy:mirror: stage\n  understudy:image: images/mine.qcow2\n"}
    dr = environment(texts, "dr")
    assert replace(dr.topology, image="") == environment(VALID).topology
    assert (dr.mirror_of, dr.topology.image) == ("stage", "images/mine.qcow2")


def test_a_mirror_can_be_smaller_than_what_it_mirrors() -> None:
    limits = "warm_start: true\n  understudy:at_most: {vcpus: 1, memory: 2GiB, data_disk: 1GiB}"
    stage = environment({**VALID, "stage": VALID["stage"].replace("warm_start: true", limits)}).topology
    sizes = {each.name: (each.vcpus, each.memory_mib, each.data_disk_mib) for each in stage.machines}
    assert sizes == {
        "lb": (1, 512, 0),
        "app1": (1, 512, 0),
        "db1": (1, 1024, 1024),
        "db2": (1, 1024, 1024),
        "old": (1, 2048, 1024),
    }


def test_existing_true_is_reached_at_its_own_address() -> None:
    text = VALID["prod"].replace("existing: {host: old.example, user: admin, sudo: true}", "existing: true")
    assert environment({"prod": text}, "prod").topology.machine("old").existing == Access(host="10.20.0.41")


def test_another_stacks_file_is_not_read() -> None:
    assert environment({**VALID, "other": "\t"}).stack == "stage"


def test_a_version_of_its_own_is_welcome_with_an_image_of_its_own() -> None:
    stage = VALID["stage"].replace("warm_start: true", "image: https://images.example/debian11.qcow2")
    texts = {"prod": VALID["prod"].replace("version: 15", "version: 13"), "stage": stage}
    assert environment(texts).topology.stores[-1].version == "13"


def test_an_unknown_key_is_answered_with_each_known_one_once() -> None:
    for stack, text in VALID.items():
        texts = {**VALID, stack: text.replace("config:", "config:\n  understudy:xyzzy: red", 1)}
        with pytest.raises(ConfigurationError) as raised:
            environment(texts, stack)
        (fault,) = raised.value.faults
        assert (fault.file, fault.key, fault.found) == (f"Pulumi.{stack}.yaml", "xyzzy", "an unknown key")
        assert fault.allowed == f"one of {', '.join(sorted(set(KEYS)))}"


def test_pulumis_own_description_of_the_keys_is_the_readers() -> None:
    described = yaml.safe_load((ROOT / "Pulumi.yaml").read_text(encoding="utf-8"))["config"]
    assert set(described) == set(KEYS)
    defaults = {key: each["default"] for key, each in described.items()}
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in defaults.items()}
    file = with_pulumi_values(stack_file("Pulumi.prod.yaml", VALID["prod"]), texts)
    assert file.config == {"capacity": "here", "warm_start": "true"}, "any other default says that the key is not given"
    told = {key: each["description"] for key, each in described.items()}
    wanted = {"protect": ["true", "false"], "seed": ["newest", "empty"], "stores": ["expected_tables", "backup"]}
    assert {key: [word for word in words if word in told[key]] for key, words in wanted.items()} == wanted


@pytest.mark.parametrize("case", TABLE, ids=[case["name"] for case in TABLE])
def test_wrong_configuration(case: dict[str, Any]) -> None:
    file = case.get("in", "prod")
    assert case["replace"] in VALID[file], "the case no longer fits the valid file"
    text = VALID[file].replace(case["replace"], case["by"], 1)
    with pytest.raises(ConfigurationError) as raised:
        environment({**VALID, file: text})
    faults = {(fault.key, fault.found): fault for fault in raised.value.faults}
    assert set(faults) == {(key, found) for key, found, _ in case["faults"]}
    for key, found, allowed in case["faults"]:
        assert allowed in faults[key, found].allowed
        assert faults[key, found].file == f"Pulumi.{file}.yaml"
        assert str(faults[key, found]) in str(raised.value)
    assert "hunter2" not in str(raised.value)


def test_the_table_holds_at_least_the_promised_kinds() -> None:
    assert len({case["name"] for case in TABLE}) == len(TABLE) >= 100


def test_all_faults_are_told_together() -> None:
    texts = {
        "prod": VALID["prod"].replace("memory: 512MiB", "memory: 512").replace("version: 15", "version: no"),
        "stage": VALID["stage"].replace("here", "there"),
    }
    with pytest.raises(ConfigurationError) as raised:
        environment(texts)
    keys = [(fault.file, fault.key) for fault in raised.value.faults]
    assert keys == [
        ("Pulumi.stage.yaml", "capacity"),
        ("Pulumi.prod.yaml", "machines.lb.memory"),
        ("Pulumi.prod.yaml", "machines.app1.memory"),
        ("Pulumi.prod.yaml", "stores.shop.version"),
    ]


@pytest.mark.parametrize("stack", ["", "../prod", "a b", "-s", "x" * 41, "st\u0430ge", "a\n"])
def test_a_stacks_name_that_no_host_can_carry(stack: str) -> None:
    with pytest.raises(ConfigurationError, match="the stack's name"):
        environment(VALID, stack)


def test_a_stack_without_a_file() -> None:
    with pytest.raises(ConfigurationError, match=r"Pulumi\.dr\.yaml: the file: found nothing.*one of prod, stage"):
        environment(VALID, "dr")


def test_pulumis_values_stand_before_the_files() -> None:
    file = stack_file("Pulumi.stage.yaml", VALID["stage"])
    values: dict[str, str | None] = dict.fromkeys(KEYS) | {
        "mirror": "prod",
        "seed": "empty",
        "warm_start": "false",
        "machines": "{}",
    }
    files = {"prod": stack_file("Pulumi.prod.yaml", VALID["prod"]), "stage": with_pulumi_values(file, values)}
    assert read_environment(files, "stage", services=SERVICES).settings == Settings(seed="empty", warm_start=False)


def test_pulumis_json_is_the_same_as_the_file() -> None:

    file = stack_file("Pulumi.prod.yaml", VALID["prod"])
    values = {key: value if isinstance(value, str) else json.dumps(value) for key, value in file.config.items()}
    files = {"prod": with_pulumi_values(replace(file, config={}), values)}
    assert read_environment(files, "prod", services=SERVICES) == environment(VALID, "prod")


def test_pulumis_broken_json_is_a_fault() -> None:
    file = with_pulumi_values(stack_file("Pulumi.prod.yaml", VALID["prod"]), {"machines": "{", "network": "10.0.0.0/8"})
    with pytest.raises(ConfigurationError, match="machines: found"):
        read_environment({"prod": file}, "prod", services=SERVICES)


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=30),
    st.sampled_from(["10.20.0.9", "2GiB", "db1", "postgresql", "s3://abc", "http://[", "http://a:b@c", "1/2", "::1"]),
)
ANYTHING = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(SCALARS, inner, max_size=3), max_leaves=8
)


def places(values: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    return [path, *(place for key, value in items for place in places(value, (*path, key)))]


def changed(values: Any, path: tuple[Any, ...], change: Any) -> Any:
    if not path:
        return change
    copy = dict(values) if isinstance(values, dict) else list(values)
    copy[path[0]] = changed(values[path[0]], path[1:], change)
    return copy


PARSED = {stack: dict(stack_file(f"Pulumi.{stack}.yaml", text).config) for stack, text in VALID.items()}


@settings(max_examples=400)
@given(st.data(), st.sampled_from(["prod", "stage"]), ANYTHING)
def test_any_value_anywhere_is_read_or_is_a_fault(data: st.DataObject, stack: str, change: Any) -> None:
    path = data.draw(st.sampled_from([place for place in places(PARSED[stack]) if place]))
    configs = {**PARSED, stack: changed(PARSED[stack], path, change)}
    files = {name: StackFile(name=f"Pulumi.{name}.yaml", config=config) for name, config in configs.items()}
    read_or_faults(files)


@settings(max_examples=400)
@given(
    st.data(), st.sampled_from(["prod", "stage"]), st.text(max_size=6) | st.sampled_from(["\n", "\t", "{", "*", "&"])
)
def test_any_change_of_the_text_is_read_or_is_a_fault(data: st.DataObject, stack: str, change: str) -> None:
    text = VALID[stack]
    begin = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(begin, min(len(text), begin + 40)))
    texts = {**VALID, stack: text[:begin] + change + text[end:]}
    read_or_faults({name: stack_file(f"Pulumi.{name}.yaml", text) for name, text in texts.items()})


def read_or_faults(files: dict[str, StackFile]) -> None:
    faults: tuple[Fault, ...] = ()
    try:
        environment = read_environment(files, "stage", services=SERVICES)
    except ConfigurationError as error:
        faults = error.faults
    else:
        assert environment.topology.machines
        return
    assert faults
    assert all(fault.found and fault.allowed and fault.key and fault.file for fault in faults)
