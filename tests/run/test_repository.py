"""What the repository promises about itself: everything is pinned, and it names no registry and no one's machine."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).parents[2]
MODULES = ("language-python", "libvirt", "pulumi")
# Put together here, so that this file doesn't hold what it forbids.
REGISTRIES = tuple(
    ".".join(parts)
    for parts in (
        ("pypi", "org"), ("pythonhosted", "org"), ("proxy", "golang", "org"), ("sum", "golang", "org"),
        ("registry", "npmjs", "org"), ("deb", "debian", "org"), ("rubygems", "org"), ("crates", "io"),
    )
)  # fmt: skip
MACHINE_PATHS = re.compile(r"/(?:root/\.(?!ssh\b)|work/|home/[a-z]+/|Users/)|\.pyenv")


@cache
def tracked_texts() -> tuple[tuple[str, str], ...]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return tuple(readable_texts(name for name in listed.split("\0") if name))


def readable_texts(names: Iterator[str]) -> Iterator[tuple[str, str]]:
    for name in names:
        path = ROOT / name
        if path.is_file() and not path.is_symlink():
            try:
                yield name, path.read_text("utf-8")
            except UnicodeDecodeError:
                continue


def own_registries() -> set[str]:
    """The hosts that this machine is told to fetch packages from."""
    values = [os.environ.get(key, "") for key in ("PIP_INDEX_URL", "UV_INDEX_URL", "UV_DEFAULT_INDEX", "GOPROXY")]
    for command in (["pip", "config", "list"], ["go", "env", "GOPROXY"]):
        try:
            values.append(subprocess.run(command, capture_output=True, text=True, check=False).stdout)
        except FileNotFoundError:
            continue
    urls = re.findall(r"https?://[^\s'\",|]+", " ".join(values))
    return {host for url in urls if (host := urlsplit(url).hostname) and host != "localhost"}


def test_no_registry_is_named() -> None:
    forbidden = {*REGISTRIES, *own_registries()}
    assert [(name, host) for name, text in tracked_texts() for host in forbidden if host in text] == []


def test_no_path_of_a_machine_is_named() -> None:
    own = (str(ROOT) + "/", str(Path.home() / ".cache"))
    found = [
        (name, line)
        for name, text in tracked_texts()
        if name != "tests/run/test_repository.py"
        for line in text.splitlines()
        if MACHINE_PATHS.search(line) or any(path in line for path in own)
    ]
    assert found == []


def test_each_python_dependency_is_exact_and_in_the_lock_with_its_digests() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *(pin for group in project["optional-dependencies"].values() for pin in group)]
    locked = lock_entries()
    for pin in wanted:
        assert re.fullmatch(r"[A-Za-z0-9._-]+(\[[a-z0-9,]+\])?==[0-9][A-Za-z0-9.]*", pin), pin
        name, _, version = re.sub(r"\[.*\]", "", pin.lower()).partition("==")
        assert locked[name][0] == version
    assert all(digests for _, digests in locked.values())


def lock_entries() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Package → version and digests."""
    text = (ROOT / "requirements.lock").read_text()
    entries = re.findall(r"^([a-z0-9._-]+)==([^ ;\\]+)(.*?)(?=^[a-z]|\Z)", text, re.MULTILINE | re.DOTALL)
    assert len(entries) == len(re.findall(r"^[a-z]", text, re.MULTILINE))
    return {name: (version, tuple(re.findall(r"sha256:[0-9a-f]{64}", rest))) for name, version, rest in entries}


def test_each_go_module_has_its_sums_and_stands_on_no_folder() -> None:
    for module in MODULES:
        text = (ROOT / "plugins" / module / "go.mod").read_text()
        assert (ROOT / "plugins" / module / "go.sum").stat().st_size > 0
        assert not re.search(r"=>\s*[./]", text), module


def test_pulumis_version_is_the_same_everywhere() -> None:
    shell = re.search(r"^PULUMI_VERSION=(\S+)", (ROOT / "toolchain/pulumi.sh").read_text(), re.MULTILINE)
    module = re.search(r"pulumi/pkg/v3 v(\S+)", (ROOT / "plugins/pulumi/go.mod").read_text())
    assert shell and module  # noqa: PT018
    assert {shell[1], module[1], lock_entries()["pulumi"][0]} == {shell[1]}


def test_libvirt_plugins_version_is_that_of_its_package() -> None:
    source = (ROOT / "plugins/libvirt/provider/provider.go").read_text()
    assert f'Version = "{lock_entries()["pulumi-libvirt"][0]}"' in source


def shell_scripts() -> list[str]:
    ours, bash = ("run", ".ci/run", "toolchain/"), re.compile(r"#(!.*| shellcheck shell=)bash")
    return [name for name, text in tracked_texts() if name.startswith(ours) and bash.match(text)]


def test_shell_scripts_are_clean() -> None:
    scripts = shell_scripts()
    assert len(scripts) > 8
    done = subprocess.run(
        ["shellcheck", "-x", "-f", "json", *scripts], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert json.loads(done.stdout) == []
    assert all(len((ROOT / name).read_text().splitlines()) < 300 for name in scripts)


def test_what_must_be_executable_is() -> None:
    for name in ("run", ".ci/run", "toolchain/lock", "toolchain/bin/understudy"):
        assert os.access(ROOT / name, os.X_OK), name
