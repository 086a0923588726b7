"""Reads the files of the project's stacks."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from components.strict_yaml import parse
from model.configuration import StackFile
from model.errors import ConfigurationError, Fault, UnderstudyError
from model.limits import Sizes
from model.packages import PackageLock, lock_file, read_lock
from model.readers import MISSING, show
from model.rules import ENGINES

_PREFIX = "understudy:"
SIZES_BEFORE = "UNDERSTUDY_SIZES_BEFORE"
"""The variable in which a rehearsal says it; a stack that mirrors nothing does not listen to it."""
_STACK_FILE = re.compile(r"Pulumi\.(.+)\.yaml")


def stack_file(name: str, text: str) -> StackFile:
    """Return a stack's file from its text. Keys of others (`aws:region`, the encryption salt) are left aside."""
    values, faults = parse(name, text)
    config = values.get("config", MISSING) if isinstance(values, Mapping) else MISSING
    if isinstance(config, Mapping):
        ours = {key: value for key, value in config.items() if not _is_foreign(key)}
        return StackFile(
            name=name,
            config={_short(key): value for key, value in ours.items()},
            faults=faults,
        )
    if not faults:
        wanted = "the key `config` with the stack's keys, such as `understudy:mirror: prod`"
        faults = (Fault(file=name, key="config", found=show(config), allowed=wanted),)
    return StackFile(name=name, config={}, faults=faults)


def sizes_before(environment: Mapping[str, str]) -> Sizes | None:
    """Return the sizes that machines had before the change that a rehearsal takes back; None outside of one."""
    text = environment.get(SIZES_BEFORE)
    return json.loads(text) if text else None


def _is_foreign(key: object) -> bool:
    return isinstance(key, str) and ":" in key and not key.startswith(_PREFIX)


def _short(key: object) -> str:
    return key.removeprefix(_PREFIX) if isinstance(key, str) else show(key)


def read_text(path: Path) -> str:
    """Return the text of a file.

    Raises:
        UnderstudyError: it cannot be read, or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        found = f"byte {error.object[error.start]:#04x} at position {error.start}"
        raise UnderstudyError(where=path.name, found=found, wanted="UTF-8 text") from error
    except OSError as error:
        raise UnderstudyError(
            where=str(path),
            found=error.strerror or str(error),
            wanted="a readable file",
        ) from error


def stack_files(directory: Path) -> dict[str, StackFile]:
    """Return the files of all stacks in the project's directory, by the stack's name."""
    files = {}
    for path in sorted(directory.glob("Pulumi.*.yaml")):
        if match := _STACK_FILE.fullmatch(path.name):
            files[match[1]] = _read_stack_file(path)
    return files


def _read_stack_file(path: Path) -> StackFile:
    try:
        return stack_file(path.name, read_text(path))
    except UnderstudyError as error:
        fault = Fault(file=path.name, key="the file", found=error.found, allowed=error.wanted)
        return StackFile(name=path.name, config={}, faults=(fault,))


def state_place(environment: Mapping[str, str]) -> str:
    """Return which place the stacks' states are in: its URL, and the id that ``./run`` gave it, if it did.

    Args:
        environment: the process's environment variables.
    """
    url = backend_url(environment)
    if not url.startswith("file://"):
        return url
    try:
        given = Path(url.removeprefix("file://")).joinpath("understudy-id").read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return url
    return f"{url}#{given}"


def backend_url(environment: Mapping[str, str]) -> str:
    """Return where Pulumi keeps the stacks' states, in Pulumi's own order; empty where nobody said so yet.

    Source: pulumi, pkg/cmd/pulumi/backend, ``currentBackend``; sdk/go/common/workspace/creds.go.
    """
    if url := environment.get("PULUMI_BACKEND_URL", ""):
        return url
    home = environment.get("PULUMI_HOME") or f"{environment.get('HOME', '')}/.pulumi"
    path = Path(environment.get("PULUMI_CREDENTIALS_PATH") or home) / "credentials.json"
    try:
        current = json.loads(path.read_text(encoding="utf-8")).get("current", "")
    except (OSError, ValueError, AttributeError):
        return ""
    return current if isinstance(current, str) else ""


def read_package_lock(directory: Path, service: str) -> PackageLock | None:
    """Return what a service's lock of packages says, None where there is none.

    Raises:
        ConfigurationError: with everything that is wrong with it.
    """
    name = lock_file(service)
    if not (directory / name).is_file():
        return None
    values, faults = parse(name, read_text(directory / name))
    if faults:
        raise ConfigurationError(faults)
    return read_lock(name, values)


def service_names(directory: Path) -> frozenset[str]:
    """Return the names of the site's services: the folders of ``services/`` without the engines, which stores bring."""
    folders = (path.name for path in (directory / "services").glob("[a-z]*") if path.is_dir())
    return frozenset(name for name in folders if name not in ENGINES)
