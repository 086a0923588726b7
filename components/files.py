"""Reads the project's YAML files, strictly: what could be read in two ways, or Pulumi reads in another, is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

import yaml

from model.configuration import StackFile
from model.errors import Fault, UnderstudyError
from model.readers import MISSING, plain_key, show
from model.rules import ENGINES

_PREFIX = "understudy:"
_LARGEST = 1_000_000
_PLAIN_TAGS = {f"tag:yaml.org,2002:{kind}" for kind in ("str", "bool", "null", "int", "float")}
_STACK_FILE = re.compile(r"Pulumi\.(.+)\.yaml")


class _Loader(yaml.SafeLoader):
    """YAML without dates, times and octal numbers, which Pulumi's reader takes for texts, and without aliases."""

    yaml_implicit_resolvers = {}  # noqa: RUF012

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Refuse aliases: a few nested ones grow without bound, and the reader of a file has to look elsewhere."""
        if self.check_event(yaml.AliasEvent):
            event: yaml.AliasEvent = self.peek_event()  # type: ignore[no-untyped-call]
            problem = f"the alias *{event.anchor} (write the value out)"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)  # type: ignore[arg-type]
        return super().compose_node(parent, index)


_FLOAT = r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][-+]?[0-9]{1,3})?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
for _tag, _pattern, _first in (
    (
        "bool",
        r"yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF",
        [*"yYnNtTfFoO"],
    ),
    ("null", r"~|null|Null|NULL|", [*"~nN", ""]),
    ("int", r"[-+]?(0|[1-9][0-9]{0,17})", [*"-+0123456789"]),
    ("float", _FLOAT, [*"-+0123456789."]),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), _first)


class _Document:
    """One file on its way from YAML's nodes to plain values; notes every fault and goes on."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.faults: list[Fault] = []

    def note(self, path: tuple[str, ...], line: int, found: str, allowed: str) -> None:
        """Note a fault at a line, counted from 0 as YAML does."""
        key = ".".join(path[1:] if path[:1] == ("config",) and len(path) > 1 else path) or "the file"
        self.faults.append(
            Fault(
                file=self.name,
                key=f"{key} (line {line + 1})",
                found=found,
                allowed=allowed,
            )
        )

    def parse(self, text: str) -> object:
        """Return the values of a text, None where it is no YAML at all."""
        try:
            loader = _Loader(text)
            node = loader.get_single_node()
            return None if node is None else self.value(loader, node, ())
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            self.note((), mark.line if mark else 0, f"no YAML: {error.problem or error.context}", "YAML")
        except yaml.reader.ReaderError as error:
            line = text.count("\n", 0, error.position)
            self.note((), line, f"the character {show(text[error.position])}", "printable characters")
        except RecursionError:
            self.note((), 0, "lists or mappings nested hundreds deep", "at most the few levels of a stack's file")
        return None

    def value(self, loader: _Loader, node: yaml.Node, path: tuple[str, ...]) -> object:
        """Return the plain value of a node."""
        if isinstance(node, yaml.MappingNode):
            return self.mapping(loader, node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(loader, item, (*path, str(index))) for index, item in enumerate(node.value)]
        try:
            if node.tag in _PLAIN_TAGS:
                return loader.construct_object(node)
        except (ValueError, KeyError, yaml.YAMLError):
            pass  # a tag that is not the value's own, such as `!!int x`
        self.note(path, node.start_mark.line, f"the tag {show(node.tag)}", "a value without a tag")
        return None

    def mapping(self, loader: _Loader, node: yaml.MappingNode, path: tuple[str, ...]) -> dict[object, object]:
        """Return the values of a mapping; a key that stands there twice is a fault."""
        values: dict[object, object] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self.note(
                    path,
                    key_node.start_mark.line,
                    "a key that is a list or mapping",
                    "a word as the key",
                )
                continue
            key = self.value(loader, key_node, path)
            here = (
                *path,
                plain_key(key.removeprefix(_PREFIX) if isinstance(key, str) else key),
            )
            if key in values:
                self.note(
                    here,
                    key_node.start_mark.line,
                    "the same key a second time",
                    "each key once",
                )
            values[key] = self.value(loader, value_node, here)
        return values


def parse(name: str, text: str) -> tuple[object, tuple[Fault, ...]]:
    """Return the values of a YAML text, with what is wrong with its notation.

    Args:
        name: the file's name, for faults.
        text: what stands in the file.
    """
    document = _Document(name)
    if len(text) > _LARGEST:
        document.note((), 0, f"{len(text)} characters", f"at most {_LARGEST}")
        return None, tuple(document.faults)
    return document.parse(text), tuple(document.faults)


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


def backend_url(environment: Mapping[str, str]) -> str:
    """Return where Pulumi keeps the stacks' states, in Pulumi's own order; empty where nobody said so yet.

    Args:
        environment: the process's environment variables.

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


def service_names(directory: Path) -> frozenset[str]:
    """Return the names of the site's services: the folders of ``services/`` without the engines, which stores bring."""
    folders = (path.name for path in (directory / "services").glob("[a-z]*") if path.is_dir())
    return frozenset(name for name in folders if name not in ENGINES)
