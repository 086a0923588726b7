"""Frozen values to plain ones, as JSON has them, and back; what does not fit is refused with its place."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from model.errors import UnderstudyError

T = TypeVar("T")


def to_values(value: object) -> Any:
    """Return a frozen value as JSON would have it."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_values(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, tuple):
        return [to_values(item) for item in value]
    return value


def from_values(kind: type[T], values: object, where: str) -> T:
    """Return the frozen value that plain ones describe. Whole numbers may be written as 2.0, as Pulumi does.

    Args:
        kind: a dataclass whose fields are text, numbers, truth values, other such classes, or tuples of these.
        values: a mapping; a field that has a default may be left out.
        where: names the place for errors.

    Raises:
        UnderstudyError: a key is unknown or missing, or a value has another type.
    """
    if not isinstance(values, Mapping):
        raise _wrong(where, values, "a mapping")
    fields = {field.name: field for field in dataclasses.fields(typing.cast("Any", kind))}
    hints = typing.get_type_hints(kind)
    unknown = [str(key) for key in values if key not in fields]
    if unknown:
        raise UnderstudyError(where=where, found=f"unknown: {', '.join(unknown)}", wanted=", ".join(fields))
    needed = {name for name, field in fields.items() if field.default is dataclasses.MISSING}
    missing = sorted(needed - set(values))
    if missing:
        raise UnderstudyError(where=where, found=f"no {', '.join(missing)}", wanted="a value for each")
    return kind(**{key: _read(hints[key], item, f"{where}.{key}") for key, item in values.items()})


def _read(hint: Any, value: object, where: str) -> object:
    if isinstance(hint, types.UnionType):
        present = [kind for kind in typing.get_args(hint) if kind is not types.NoneType]
        return None if value is None else _read(present[0], value, where)
    if typing.get_origin(hint) is tuple:
        if not isinstance(value, list | tuple):
            raise _wrong(where, value, "a list")
        return tuple(_read(typing.get_args(hint)[0], item, f"{where}.{index}") for index, item in enumerate(value))
    if dataclasses.is_dataclass(hint):
        return from_values(typing.cast("Any", hint), value, where)
    if hint is float or hint is int:
        return _number(hint, value, where)
    if not isinstance(value, hint):
        raise _wrong(where, value, {str: "text", bool: "true or false"}[hint])
    return value


def _number(hint: type[int | float], value: object, where: str) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _wrong(where, value, "a number")
    if hint is int and value != int(value):
        raise _wrong(where, value, "a whole number")
    return hint(value)


def _wrong(where: str, value: object, wanted: str) -> UnderstudyError:
    shown = repr(value)
    return UnderstudyError(where=where, found=shown if len(shown) <= 60 else f"{shown[:60]}…", wanted=wanted)
