"""Who may import whom: an arrow that is not in this table is an error. The table is the design's own."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS: Mapping[str, frozenset[str]] = {
    "__main__": frozenset({"model", "components"}),
    "model": frozenset(),
    "components": frozenset({"model"}),
    "provisioners": frozenset({"model", "images"}),  # an image is built where it is missing
    "images": frozenset({"model"}),
    "cli": frozenset({"model", "components", "provisioners", "images"}),
    "bench": frozenset({"model", "components", "provisioners", "images", "cli", "tests"}),  # tests: sshds as machines
    "services": frozenset(),
}
"""Each room, and the other rooms that it may import."""
PACKAGES: Mapping[str, frozenset[str]] = {
    "__main__": frozenset({"pulumi"}),
    "model": frozenset(),
    "components": frozenset({"pulumi", "pulumi_libvirt", "jinja2", "yaml"}),
    "components/language_host": frozenset({"grpc", "pulumi"}),
    "components/backends": frozenset({"pulumi", "pulumi_libvirt", "pulumi_aws", "pulumi_azure", "pulumi_gcp"}),
    "provisioners": frozenset({"cryptography"}),
    "provisioners/solver": frozenset({"ortools"}),
    "provisioners/clouds": frozenset({"boto3", "botocore", "cryptography"}),
    "provisioners/shell": frozenset({"paramiko", "cryptography"}),
    "provisioners/stores": frozenset({"boto3", "botocore"}),
    "provisioners/provider": frozenset({"cryptography", "google", "grpc", "pulumi"}),
    "images": frozenset(),
    "cli": frozenset({"yaml"}),
    "bench": frozenset({"yaml"}),
    "bench/nothing": frozenset({"grpc", "pulumi"}),
    "services": frozenset({"psycopg2"}),  # in the machine's image
}
"""Packages that are not the standard library's, by the longest folder that has a line of its own."""
ACTING = frozenset(
    {"subprocess", "socket", "os", "shutil", "tempfile", "time", "random", "secrets", "threading", "asyncio"}
)
"""What a pure room has no use for."""
QUOTING = frozenset({"shlex.quote", "shlex.join"})
"""One place quotes; everywhere else a command is a list of arguments."""


def imports(text: str) -> Iterator[str]:
    """Yield the dotted name of everything that a program imports, wherever in it, and of what it uses of `shlex`."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "shlex":
            yield f"shlex.{node.attr}"
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports are absolute"
            assert node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def wrong_arrows(path: str, text: str) -> list[str]:
    """Return each import of a file that its room may not have."""
    room = path.split("/", maxsplit=1)[0].removesuffix(".py")
    allowed = PACKAGES[max((key for key in PACKAGES if f"{path.removesuffix('.py')}/".startswith(f"{key}/")), key=len)]
    wrong = []
    for name in imports(text):
        top = name.split(".")[0]
        if top in ROOMS or top == "tests":
            fine = top == room or top in ROOMS[room]
        elif top in sys.stdlib_module_names:
            quotes = name in QUOTING and path != "provisioners/commands.py"
            fine = not (room == "model" and top in ACTING) and not quotes
        else:
            fine = top in allowed
        if not fine:
            wrong.append(f"{path} imports {name}")
    return wrong


def programs() -> list[Path]:
    """Return every Python file of the rooms."""
    return [*sorted(path for room in ROOMS for path in ROOT.glob(f"{room}/**/*.py")), ROOT / "__main__.py"]


@pytest.mark.parametrize("path", [str(path.relative_to(ROOT)) for path in programs()])
def test_arrows(path: str) -> None:
    assert not wrong_arrows(path, (ROOT / path).read_text())


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("model/a.py", "import yaml"),
        ("model/a.py", "import os.path"),
        ("model/a.py", "from components import site"),
        ("components/a.py", "from provisioners.shell import connect"),
        ("components/backends/a.py", "def f():\n    import cli.place"),
        ("provisioners/a.py", "import paramiko"),
        ("provisioners/stores/a.py", "from paramiko.client import SSHClient"),
        ("provisioners/provider/a.py", "import paramiko"),
        ("provisioners/a.py", "import components.environment"),
        ("provisioners/a.py", "from shlex import quote"),
        ("cli/a.py", "import shlex\nshlex.join([])"),
        ("cli/a.py", "import paramiko"),
        ("cli/a.py", "from tests import doubles"),
        ("services/app/a.py", "import model.errors"),
        ("__main__.py", "import provisioners"),
    ],
)
def test_the_table_refuses(path: str, text: str) -> None:
    assert wrong_arrows(path, text)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("provisioners/shell/dial.py", "import paramiko"),
        ("provisioners/commands.py", "import shlex\nshlex.join([])"),
        ("cli/a.py", "import shlex\nshlex.split('')"),
        ("components/a.py", "import pulumi_libvirt as libvirt"),
        ("cli/a.py", "from provisioners.shell import connect"),
    ],
)
def test_the_table_allows(path: str, text: str) -> None:
    assert not wrong_arrows(path, text)
