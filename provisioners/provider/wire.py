"""Property values between the engine's protobuf messages and plain Python."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from google.protobuf.struct_pb2 import NULL_VALUE, Struct, Value

from provisioners.provider.kinds import UNKNOWN, Values

UNKNOWN_TEXT = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
"""Source: pulumi, sdk/go/common/resource/plugin/rpc.go, UnknownStringValue; also for other types than strings."""
_UNKNOWNS = frozenset(
    (
        UNKNOWN_TEXT,
        "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",
        "3eeb2bf0-c639-47a8-9e75-3b44932eb421",
        "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",
        "030794c1-ac77-496b-92df-f27374a8bd58",
        "e48ece36-62e2-4504-bad9-02848725956a",
        "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",
    )
)
SIGNATURE = "4dabf18193072939515e22adb298388d"
SECRET = "1b47061264138c4ac30d75fd1eb44270"
"""Source: pulumi, sdk/go/common/resource/sig/sig.go."""


def plain(struct: Struct) -> Values:
    """Return the values of a message; whole numbers are ``int``, and a secret is its value."""
    return {key: _plain(value) for key, value in struct.fields.items()}


def _plain(value: Value) -> Any:
    match value.WhichOneof("kind"):
        case "string_value":
            return UNKNOWN if value.string_value in _UNKNOWNS else value.string_value
        case "number_value":
            number = value.number_value
            return int(number) if math.isfinite(number) and number == int(number) else number
        case "bool_value":
            return value.bool_value
        case "list_value":
            return [_plain(item) for item in value.list_value.values]
        case "struct_value":
            values = plain(value.struct_value)
            return values.get("value") if values.get(SIGNATURE) == SECRET else values
    return None


def message(values: Mapping[str, Any], secret: Iterable[str] = ()) -> Struct:
    """Return the message of values; those whose key is in ``secret`` are marked."""
    struct = Struct()
    hidden = frozenset(secret)
    for key, value in values.items():
        marked = {SIGNATURE: SECRET, "value": value} if key in hidden and value is not UNKNOWN else value
        struct.fields[key].CopyFrom(_message(marked))
    return struct


def _message(value: Any) -> Value:
    if value is UNKNOWN:
        return Value(string_value=UNKNOWN_TEXT)
    if value is None:
        return Value(null_value=NULL_VALUE)
    if isinstance(value, bool):
        return Value(bool_value=value)
    if isinstance(value, (int, float)):
        return Value(number_value=value)
    if isinstance(value, str):
        return Value(string_value=value)
    if isinstance(value, Mapping):
        return Value(struct_value=message(value))
    if isinstance(value, (list, tuple)):
        result = Value()
        result.list_value.values.extend(_message(item) for item in value)
        return result
    raise TypeError(f"a property value cannot be a {type(value).__name__}")
