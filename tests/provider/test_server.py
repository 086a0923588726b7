"""The servicer without an engine: differences, unknowns, secrets, errors, lost connections, machines that are gone."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from google.protobuf.struct_pb2 import Struct
from hypothesis import given
from hypothesis import strategies as st
from pulumi.runtime.proto import plugin_pb2, provider_pb2

from model.errors import UnderstudyError
from model.tunnels import is_key
from provisioners.outcome import ConnectionLost, Unreachable
from provisioners.provider import server as module
from provisioners.provider.differences import differences
from provisioners.provider.kinds import UNKNOWN, Failure, Real, Values
from provisioners.provider.secrets import Password, SshKeypair, WireguardKeypair
from provisioners.provider.server import Provider
from provisioners.provider.wire import SECRET, SIGNATURE, UNKNOWN_TEXT, message, plain
from tests.doubles.pulumi import wait_until

URN = "urn:pulumi:s::p::understudy:index:Toy::t"


@dataclass(kw_only=True)
class Toy:
    """A kind whose functions the test gives."""

    token: str = "understudy:index:Toy"
    secret_outputs: frozenset[str] = frozenset({"hidden"})
    replace_on: frozenset[str] = frozenset({"path"})
    ignored: frozenset[str] = frozenset({"connection", "private_key"})
    act: Callable[[], Any] = lambda: None
    acts: list[str] = field(default_factory=list)

    def check(self, inputs: Mapping[str, Any]) -> tuple[Failure, ...]:
        return ()

    def create(self, inputs: Values, say: Any) -> tuple[str, Values]:
        self.acts.append("create")
        if inputs.get("path"):
            say(inputs["path"])
        self.act()
        return "id", {"hidden": "h", "seen": 1}

    def read(self, identifier: str, inputs: Values, outputs: Values, say: Any) -> Real | None:
        self.act()
        return Real(inputs=inputs, outputs={"seen": 2})

    def update(self, identifier: str, old: Values, inputs: Values, outputs: Values, say: Any) -> Values:
        self.acts.append(f"update {sorted(outputs)}")
        self.act()
        return outputs

    def delete(self, identifier: str, inputs: Values, outputs: Values, say: Any) -> None:
        self.act()


class Shown:
    """Keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def attach(self, address: str) -> None:
        self.lines.append(f"attached: {address}")

    def say(self, urn: str) -> Callable[[str], None]:
        return self.lines.append

    def note(self, urn: str, text: str) -> None:
        self.lines.append(f"note: {text}")

    def warn(self, urn: str, text: str) -> None:
        self.lines.append(f"warning: {text}")


class Aborted(Exception):
    """What gRPC raises."""


class Context:
    """A call's context, which notes how it ended."""

    def abort(self, code: grpc.StatusCode, details: str) -> None:
        raise Aborted(details)


def raising(*errors: Exception | None) -> Callable[[], None]:
    """Return a function that raises one error after the other, and then none."""
    left = list(errors)

    def act() -> None:
        error = left.pop(0) if left else None
        if error is not None:
            raise error

    return act


def provider(toy: Toy, tick_seconds: float = 60) -> tuple[Provider, Shown, Any]:
    """Return a provider with that kind."""
    shown = Shown()
    return Provider({toy.token: toy}, shown, tick_seconds), shown, Context()


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "pause", lambda seconds, where: None)


LOST = ConnectionLost(where="db1", found="lost")


def test_a_change_is_begun_anew_when_its_connection_is_lost() -> None:
    toy = Toy(act=raising(LOST, LOST))
    answer, shown, context = provider(toy)
    answer.Create(provider_pb2.CreateRequest(urn=URN, properties=message({})), context)
    assert toy.acts == ["create"] * 3
    assert shown.lines == [f"the connection to db1 was lost: going on ({number} of 3)" for number in (1, 2)]
    toy.act = raising(*[LOST] * 9)
    with pytest.raises(Aborted, match="db1: lost"):
        answer.Create(provider_pb2.CreateRequest(urn=URN, properties=message({})), context)
    assert len(toy.acts) == 3 + 4


@pytest.mark.parametrize("words", ["reading every page", ""])
def test_what_takes_long_is_shown_again_and_again(words: str) -> None:
    toy = Toy()
    answer, shown, context = provider(toy, tick_seconds=0.01)
    toy.act = lambda: wait_until(lambda: len(shown.lines) > 2)
    answer.Create(provider_pb2.CreateRequest(urn=URN, properties=message({"path": words})), context)
    assert len(shown.lines) > 2
    first, *more = shown.lines
    assert all(re.fullmatch(rf"{words or 'at work'} \(\d+ s\)", line) for line in more)
    assert first == words or not words


def test_errors_are_the_users_text_and_mistakes_are_ours(capsys: pytest.CaptureFixture[str]) -> None:
    toy = Toy(act=raising(UnderstudyError(where="db1", found="full", todo="Free some."), KeyError("x")))
    answer, _, context = provider(toy)
    request = provider_pb2.CreateRequest(urn=URN, properties=message({}))
    with pytest.raises(Aborted, match=r"^db1: full. Free some.$"):
        answer.Create(request, context)
    with pytest.raises(Aborted, match=r"^a mistake in Understudy at test_server.py line \d+: KeyError: 'x'$"):
        answer.Create(request, context)
    assert "Traceback" in capsys.readouterr().err


def test_a_preview_touches_nothing_and_leaves_outputs_unknown() -> None:
    toy = Toy(act=raising(AssertionError("touched")))
    answer, _, context = provider(toy)
    inputs = message({"content": UNKNOWN})
    created = answer.Create(provider_pb2.CreateRequest(urn=URN, properties=inputs, preview=True), context)
    assert plain(created.properties) == {"content": UNKNOWN}
    request = provider_pb2.UpdateRequest(
        urn=URN, news=inputs, old_inputs=inputs, olds=message({"seen": 1}), preview=True
    )
    assert plain(answer.Update(request, context).properties) == {"content": UNKNOWN}


def test_secret_outputs_are_marked_and_inputs_in_the_state_are_not_outputs() -> None:
    toy = Toy()
    answer, _, context = provider(toy)
    created = answer.Create(provider_pb2.CreateRequest(urn=URN, properties=message({"path": "/a"})), context)
    raw = created.properties.fields["hidden"].struct_value.fields
    assert raw[SIGNATURE].string_value == SECRET
    assert plain(created.properties) == {"path": "/a", "hidden": "h", "seen": 1}
    request = provider_pb2.UpdateRequest(
        urn=URN, news=message({"path": "/b"}), old_inputs=message({"path": "/a"}), olds=created.properties
    )
    updated = answer.Update(request, context)
    assert toy.acts[-1] == "update ['hidden', 'seen']"
    assert plain(updated.properties) == {"path": "/b", "hidden": "h", "seen": 1}


@pytest.mark.parametrize(("fate", "there", "warns"), [("gone", False, False), ("off", True, True)])
def test_a_machine_that_is_gone_or_off(monkeypatch: pytest.MonkeyPatch, fate: str, there: bool, warns: bool) -> None:
    monkeypatch.setattr(module, "fate", lambda inputs: fate)
    toy = Toy(act=raising(Unreachable(where="db1", found="no SSH"), Unreachable(where="db1", found="no SSH")))
    answer, shown, context = provider(toy)
    inputs = message({"connection": {"name": "db1"}})
    request = provider_pb2.ReadRequest(urn=URN, id="id", inputs=inputs, properties=message({"seen": 1}))
    read = answer.Read(request, context)
    assert bool(read.id) == there
    if there:
        assert plain(read.properties)["seen"] == 1
    assert any("shut off" in line for line in shown.lines) == warns
    delete = provider_pb2.DeleteRequest(urn=URN, id="id", old_inputs=inputs, properties=inputs)
    if fate == "gone":
        answer.Delete(delete, context)
    else:
        with pytest.raises(Aborted, match="no SSH"):
            answer.Delete(delete, context)


def test_an_unknown_kind_is_named() -> None:
    answer, _, context = provider(Toy())
    with pytest.raises(Aborted, match="understudy:index:Nope: there is no such kind"):
        answer.Check(provider_pb2.CheckRequest(urn=URN.replace("Toy", "Nope")), context)


def test_the_token_of_a_child_is_found_behind_its_parents() -> None:
    answer, _, context = provider(Toy())
    urn = URN.replace("understudy:index:Toy", "understudy:components:Machine$understudy:index:Toy") + "::with::colons"
    assert not answer.Check(provider_pb2.CheckRequest(urn=urn, news=message({})), context).failures


CASES: list[tuple[Values, Values, list[tuple[str, str, bool]]]] = [
    ({"a": 1}, {"a": 1}, []),
    ({"a": 1}, {"a": True}, [("a", "update", False)]),
    ({"a": None}, {}, []),
    ({}, {"a": 2}, [("a", "add", False)]),
    ({"a": 2}, {}, [("a", "delete", False)]),
    ({"path": "/a"}, {"path": "/b"}, [("path", "update", True)]),
    ({"a": [1, 2, 3]}, {"a": [1, 5]}, [("a[1]", "update", False), ("a[2]", "delete", False)]),
    ({"s": {"x.y": 1, "z": 2}}, {"s": {"x.y": 3, "z": 2}}, [('s["x.y"]', "update", False)]),
    ({"a": 1}, {"a": UNKNOWN}, [("a", "update", False)]),
    ({"private_key": "a"}, {"private_key": UNKNOWN}, []),
    ({"connection": {"name": "a", "port": 1}}, {"connection": {"name": "a", "port": 2}}, []),
    (
        {"connection": {"name": "a"}, "generation": "g"},
        {"connection": {"name": "b"}, "generation": "g"},
        [("connection.name", "update", True)],
    ),
    ({"connection": {"name": "a"}, "generation": "g"}, {"connection": UNKNOWN, "generation": "g"}, []),
    ({"connection": {"name": "a"}, "generation": ""}, {"connection": {"name": "b"}, "generation": "g"}, []),
    ({}, {"generation": "g"}, []),
    ({"generation": "f"}, {"generation": "g"}, [("generation", "update", False)]),
]


@pytest.mark.parametrize(("old", "new", "expected"), CASES)
def test_differences(old: Values, new: Values, expected: list[tuple[str, str, bool]]) -> None:
    found = [(each.path, each.change, each.replaces) for each in differences(Toy(), old, new)]
    assert found == expected


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**50), 2**50) | st.text(max_size=9) | st.just(UNKNOWN),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=5), VALUES, max_size=4))
def test_values_cross_the_wire_unchanged(values: Values) -> None:
    assert plain(Struct.FromString(message(values).SerializeToString())) == values


def test_an_unknown_is_the_engines_own_mark() -> None:
    assert message({"a": UNKNOWN}).fields["a"].string_value == UNKNOWN_TEXT


def test_secrets_are_new_each_time_and_never_imported() -> None:
    first, second = (Password().create({"length": 24}, lambda _: None) for _ in range(2))
    assert len(first[1]["value"]) == 24
    assert first != second
    assert first[1]["value"] not in first[0]
    keys = SshKeypair().create({"comment": "stage"}, lambda _: None)[1]
    assert keys["public_key"].endswith(" stage")
    assert "OPENSSH PRIVATE KEY" in keys["private_key"]
    pair = WireguardKeypair().create({"comment": "db1"}, lambda _: None)[1]
    assert all(is_key(key) for key in pair.values())
    private = X25519PrivateKey.from_private_bytes(base64.b64decode(pair["private_key"]))
    assert base64.b64encode(private.public_key().public_bytes_raw()).decode() == pair["public_key"]
    for kind in (Password(), SshKeypair(), WireguardKeypair()):
        with pytest.raises(UnderstudyError, match="cannot be imported"):
            kind.read("x", {}, {}, lambda _: None)


class Telling(Toy):
    """A kind whose changes do more than they show."""

    def consequence(self, old: Values, inputs: Mapping[str, Any]) -> str:
        return f"{old['path']} is shut down" if inputs["path"] not in (UNKNOWN, old["path"]) else ""


def test_what_a_change_will_do_is_said_once_and_only_where_something_changes() -> None:
    served, shown, context = provider(Telling())
    for old, new in ({}, "b"), ({"path": "a"}, "b"), ({"path": "a"}, "b"), ({"path": "c"}, UNKNOWN):
        served.Check(provider_pb2.CheckRequest(urn=URN, olds=message(old), news=message({"path": new})), context)
    assert shown.lines == ["warning: a is shut down"]


def test_an_engine_that_comes_later_is_told_all_that_the_one_before_was() -> None:
    served, shown, context = provider(Telling())
    request = provider_pb2.CheckRequest(urn=URN, olds=message({"path": "a"}), news=message({"path": "b"}))
    for engine in "first", "first", "second":
        served.Attach(plugin_pb2.PluginAttach(address=engine), context)
        served.Check(request, context)
    told = "warning: a is shut down"
    assert shown.lines == ["attached: first", told, "attached: second", told]


class Planning(Toy):
    """A kind that tells how it will be changed."""

    def plan(self, old: Values, inputs: Mapping[str, Any]) -> str:
        return f"{old['path']} becomes {inputs['path']}"


def test_how_a_change_will_be_done_is_no_warning() -> None:
    served, shown, context = provider(Planning())
    for old in {}, {"path": "a"}, {"path": "a"}:
        served.Check(provider_pb2.CheckRequest(urn=URN, olds=message(old), news=message({"path": "b"})), context)
    assert shown.lines == ["note: a becomes b"]


def test_what_becomes_of_a_resource_is_said_also_where_another_one_replaces_it() -> None:
    served, shown, context = provider(Telling())
    served.Diff(
        provider_pb2.DiffRequest(urn=URN, old_inputs=message({"path": "a"}), news=message({"path": "a"})), context
    )
    assert shown.lines == []
    served.Check(provider_pb2.CheckRequest(urn=URN, news=message({"path": "b"})), context)
    assert shown.lines == ["warning: a is shut down"]
