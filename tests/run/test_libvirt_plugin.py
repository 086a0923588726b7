"""The libvirt plugin speaks of the same things, by the same names, as the Python package that programs import."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pulumi_libvirt
import pytest

ROOT = Path(__file__).parents[2]
NOT_PROPERTIES = {"self", "__self__", "resource_name", "opts", "__props__", "args"}


@pytest.fixture(scope="module")
def schema() -> Mapping[str, Any]:
    plugin = ROOT / ".toolchain/bin/pulumi-resource-libvirt"
    done = subprocess.run(
        [ROOT / ".toolchain/bin/pulumi", "package", "get-schema", plugin], capture_output=True, text=True, check=True
    )
    loaded: Mapping[str, Any] = json.loads(done.stdout)
    return loaded


def snake(name: str) -> str:
    return re.sub(r"([A-Z])", r"_\1", name).lower()


def parameters(cls: type) -> set[str]:
    return set(inspect.signature(cls.__init__).parameters) - NOT_PROPERTIES  # type: ignore[misc]


def test_version_is_that_of_the_python_package(schema: Mapping[str, Any]) -> None:
    assert schema["version"] == "0.5.4"
    assert f'pulumi-libvirt=={schema["version"]}"' in (ROOT / "pyproject.toml").read_text()


def test_each_resource_takes_what_its_python_class_passes(schema: Mapping[str, Any]) -> None:
    assert len(schema["resources"]) == 7
    for token, resource in schema["resources"].items():
        name = token.rpartition(":")[2]
        assert {snake(key) for key in resource["inputProperties"]} == parameters(
            getattr(pulumi_libvirt, f"{name}Args")
        ), token


# The plugin wraps a newer minor version than the package was made for, so it may know a field more.
def test_each_nested_type_takes_what_its_python_class_passes(schema: Mapping[str, Any]) -> None:
    nested = {token.rpartition(":")[2]: value for token, value in schema["types"].items()}
    assert len(nested) > 20
    for name, value in nested.items():
        cls = getattr(pulumi_libvirt, f"{name}Args", None) or getattr(pulumi_libvirt.outputs, f"{name}Result", None)
        if cls is not None:
            assert {snake(key) for key in value["properties"]} >= parameters(cls), name


def test_each_function_is_there(schema: Mapping[str, Any]) -> None:
    assert {snake(token.rpartition(":")[2]) for token in schema["functions"]} <= set(dir(pulumi_libvirt))
    assert len(schema["functions"]) == 6
