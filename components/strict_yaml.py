"""Strict YAML: what could be read in two ways, or Pulumi reads in another, is refused; and is never written."""

from __future__ import annotations

import re
from contextlib import suppress

import yaml
from yaml.composer import Composer

from model.errors import Fault
from model.readers import plain_key, show

_PREFIX = "understudy:"
_LARGEST = 1_000_000
_MAPPING, _SEQUENCE = "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"
_PLAIN_TAGS = {f"tag:yaml.org,2002:{kind}" for kind in ("str", "bool", "null", "int", "float")}


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


class _QuickLoader(_Loader, yaml.CSafeLoader):
    """The same with libyaml's reader, which Pulumi's is made after too; it takes a third of the time."""

    def __init__(self, text: str) -> None:
        yaml.CSafeLoader.__init__(self, text)
        Composer.__init__(self)

    check_event, peek_event = yaml.CSafeLoader.check_event, yaml.CSafeLoader.peek_event
    get_event = yaml.CSafeLoader.get_event


class _Dumper(yaml.SafeDumper):
    """Quotes a text that PyYAML's usual reader or ours would take for something else, such as the digest 12e45."""


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
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), _first)


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
        with suppress(yaml.YAMLError, RecursionError, ValueError):  # then the reader with the better words tells it
            return self.read(_QuickLoader(text))
        self.faults.clear()
        try:
            return self.read(_Loader(text))
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            self.note((), mark.line if mark else 0, f"no YAML: {error.problem or error.context}", "YAML")
        except yaml.reader.ReaderError as error:
            line = text.count("\n", 0, error.position)
            self.note((), line, f"the character {show(text[error.position])}", "printable characters")
        except RecursionError:
            self.note((), 0, "lists or mappings nested hundreds deep", "at most the few levels of a stack's file")
        return None

    def read(self, loader: _Loader) -> object:
        """Return the values of a loader's text."""
        node = loader.get_single_node()
        return None if node is None else self.value(loader, node, ())

    def value(self, loader: _Loader, node: yaml.Node, path: tuple[str, ...]) -> object:
        """Return the plain value of a node."""
        try:
            if node.tag == _MAPPING and isinstance(node, yaml.MappingNode):
                return self.mapping(loader, node, path)
            if node.tag == _SEQUENCE and isinstance(node, yaml.SequenceNode):
                return [self.value(loader, item, (*path, str(index))) for index, item in enumerate(node.value)]
            if node.tag in _PLAIN_TAGS and isinstance(node, yaml.ScalarNode):
                return loader.construct_object(node)
        except (ValueError, KeyError):
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


def dump(values: object) -> str:
    """Return plain values as YAML that `parse` reads as the same, in their own order."""
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False, width=100)
