"""The change document: whoever reads its blocks gets each command exactly, whatever stands in it."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from model.change import Step
from model.change.document import Block, Document, Part, blocks, markdown
from model.change.planned import messages, planned

NAMES = st.from_regex(r"[a-z0-9]{1,12}:[a-z0-9._-]{1,12}", fullmatch=True)
LINES = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=30)
COMMANDS = st.lists(st.one_of(LINES, st.sampled_from(["```", "````", "```sh a:b do 1", "# x", ""])), min_size=1).map(
    lambda lines: "".join(f"{line}\n" for line in lines)
)


def document(*parts: Part, **changed: object) -> Document:
    """Return a document of these parts."""
    usual: dict[str, object] = {
        "identifier": "0123456789ab",
        "title": "A change",
        "stack": "prod",
        "why": "It must be.",
        "risk": ("Small.",),
        "when": "At night.",
        "written": "2026-11-25 13:00 UTC",
        "notice": (),
        "needs": ("nobody",),
        "secrets": (),
        "parts": parts,
    }
    return Document(**(usual | changed))  # type: ignore[arg-type]


def part(name: str, steps: list[str], undo: list[str]) -> Part:
    """Return a part with these commands."""
    return Part(
        name=name,
        machine="lb",
        effect="It changes.",
        steps=tuple(Step(name=f"step {number}", command=text, prints="done") for number, text in enumerate(steps)),
        undo=tuple(Step(name=f"back {number}", command=text) for number, text in enumerate(undo)),
    )


@given(NAMES, st.lists(COMMANDS, min_size=1, max_size=4), st.lists(COMMANDS, max_size=3))
def test_each_block_is_the_command_word_for_word(name: str, steps: list[str], undo: list[str]) -> None:
    found = list(blocks(markdown(document(part(name, steps, undo)))))
    assert found == [
        *(Block(part=name, kind="do", number=index, text=text) for index, text in enumerate(steps, start=1)),
        *(Block(part=name, kind="undo", number=index, text=text) for index, text in enumerate(undo, start=1)),
    ]


def test_the_way_back_begins_with_the_last_part() -> None:
    text = markdown(document(part("lb:a", ["a\n"], ["-a\n"]), part("lb:b", ["b\n"], ["-b\n"])))
    assert [block.text for block in blocks(text)] == ["a\n", "b\n", "-b\n", "-a\n"]


def test_it_says_what_a_reader_must_know() -> None:
    secret = Step(name="fill in", command="read -r x\n", secrets=("password of shop",))
    by_hand = Step(name="tapes", command="Fetch the tapes from the bank.", place="person")
    one = Part(name="db1:app", machine="db1", effect="It restarts.", steps=(by_hand, secret), undo=(), undo_seconds=90)
    text = markdown(
        document(
            one, notice=("The shop is away for a second.",), secrets=(("password of shop", "the state"),), gate="No."
        )
    )
    for told in (
        "The shop is away for a second.",
        "`password of shop`: the state",
        "It waits for `password of shop`: type it, then Enter.",
        "Fetch the tapes from the bank.",
        "There is nothing to take back.",
        "on `db1`, as root",
        "What the gate says",
    ):
        assert told in text


def test_what_a_preview_would_do_is_read_out_of_its_json() -> None:
    urn = "urn:pulumi:prod::understudy::a:b:C$understudy:index:Service::lb:haproxy"
    state = {"custom": True, "type": "understudy:index:Service", "inputs": {"digest": "1"}}
    preview = {
        "steps": [
            {"op": "same", "urn": urn, "oldState": state, "newState": state},
            {"op": "update", "urn": urn, "oldState": state, "newState": state, "detailedDiff": {"b": {}, "a": {}}},
            {"op": "create", "urn": urn.replace("index:Service", "components:X"), "newState": {"custom": False}},
            {"op": "delete", "urn": urn, "oldState": state},
        ],
        "diagnostics": [{"severity": "warning", "message": "the gate is shut\n"}, {"severity": "info", "message": "x"}],
    }
    found = planned(json.loads(json.dumps(preview)))
    assert [(each.operation, each.kind, each.name) for each in found] == [
        ("update", "understudy:index:Service", "lb:haproxy"),
        ("delete", "understudy:index:Service", "lb:haproxy"),
    ]
    assert (found[0].differing, found[0].before, found[1].after) == (("a", "b"), {"digest": "1"}, {})
    assert messages(preview) == ("the gate is shut",)
    plugin = {"severity": "warning", "message": "warning: using pulumi-resource-x from $PATH at /some/where/x"}
    assert messages({"diagnostics": [plugin]}) == ()
    assert planned({}) == ()
