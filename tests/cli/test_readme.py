"""The table of configuration in the README names every key that there is, and the commands that it names exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cli.__main__ import commands
from model import service_reader
from model.configuration import KEYS
from model.environment import Settings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
TABLE = README.partition("### Configuration")[2].partition("\n## ")[0]


@pytest.mark.parametrize("key", KEYS)
def test_every_key_stands_in_the_table(key: str) -> None:
    assert re.search(rf"^\| `{key}[`.]", TABLE, re.MULTILINE)


@pytest.mark.parametrize(
    "key",
    [
        *("address", "vcpus", "memory", "system_disk", "data_disk", "existing", "host", "port", "user", "sudo", "jump"),
        *("engine", "version", "database", "owner", "primary", "replicas", "expected_tables", "heartbeat", "table"),
        *(
            "column",
            "backup",
            "kind",
            "path",
            "bucket",
            "region",
            "endpoint",
            "stanza",
            "via",
            "url",
            "text",
            "stopping",
        ),
    ],
)
def test_every_inner_key_stands_in_the_table(key: str) -> None:
    assert re.search(rf"[`.]{key}`", TABLE)


SERVICES = README.partition("## Services: what you edit")[2].partition("\nTexts are Jinja")[0]


@pytest.mark.parametrize("key", sorted(set(service_reader.KEYS) - {"description"}))
def test_every_key_of_a_service_stands_in_its_table(key: str) -> None:
    assert re.search(rf"^\|[^|]*`{key}`[^|]*\|", SERVICES, re.MULTILINE)


def test_the_table_of_services_has_no_key_that_is_none() -> None:
    named = re.findall(r"^\|([^|]+)\|", SERVICES, re.MULTILINE)
    assert {key for names in named for key in re.findall(r"`([a-z_]+)`", names)} <= set(service_reader.KEYS)


def test_the_table_has_no_key_that_is_none() -> None:
    assert {key.partition(".")[0] for key in re.findall(r"^\| `([a-z_.A-Z]+)` \|", TABLE, re.MULTILINE)} == set(KEYS)
    assert set(Settings.__dataclass_fields__) <= set(KEYS)


@pytest.mark.parametrize("name", sorted(set(re.findall(r"/run understudy ([a-z]+)", README))))
def test_every_command_of_the_readme_exists(name: str) -> None:
    assert name in commands()


@pytest.mark.parametrize("file", ["run", "toolchain/status.sh"])
def test_run_names_commands_that_exist(file: str) -> None:
    text = (ROOT / file).read_text(encoding="utf-8")
    named = set(re.findall(r"run understudy ([a-z]+)", text))
    for line in re.findall(r"run understudy --help +(.+)", text):
        named |= set(re.findall(r"[a-z]+", line))
    assert named
    assert named <= set(commands())


def test_the_readme_names_the_go_that_the_modules_need() -> None:
    needed = [re.search(r"^go ([\d.]+)$", path.read_text(), re.MULTILINE) for path in ROOT.glob("plugins/*/go.mod")]
    newest = max(tuple(map(int, found[1].split("."))) for found in needed if found)
    assert re.findall(r"Go \(?([\d.]+) or newer", README) == [".".join(map(str, newest))]


def test_the_sample_backup_is_small() -> None:
    assert sum(path.stat().st_size for path in (ROOT / "samples").rglob("*") if path.is_file()) < 8 << 20
