"""Whether somebody has signed that what a person does by hand is done, where no check can tell."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from model.errors import UnderstudyError
from model.evidence.chain import file_name
from provisioners import evidence_log
from provisioners.changes.acts import by_hand_digest, items, whose_word
from provisioners.changes.parts import Parts


def missing_words(inputs: Mapping[str, Any], changed: Parts) -> tuple[str, ...]:
    """Return what a person has yet to do and to sign, one line each, with the command that signs it.

    Args:
        inputs: of the kind ``understudy:index:Service``.
        changed: what is to be changed.

    Raises:
        UnderstudyError: the log of evidence is broken, or cannot be read.
    """
    unsigned = [
        each for each in items(inputs, "by_hand") if each["name"] in changed.by_hand and whose_word(inputs, each)
    ]
    if not unsigned:
        return ()
    place = inputs["evidence"]
    log = evidence_log.whole(evidence_log.read(Path(place["project_directory"]), place["stack"]))
    said = {record.body.get("change") for record in log.records if record.kind == "word"}
    service = str(inputs["service"])
    return tuple(
        f"by hand: {each['name']}: {each['text']} Once it is done: {whose_word(inputs, each)}"
        for each in unsigned
        if by_hand_digest(service, each) not in said
    )


def require_words(inputs: Mapping[str, Any], changed: Parts) -> None:
    """See that everything is signed that nothing else shows.

    Raises:
        UnderstudyError: it is not; nothing was touched.
    """
    if lines := missing_words(inputs, changed):
        raise UnderstudyError(
            where=f"{inputs['connection']['name']}: {inputs['service']}",
            found="\n".join(("this comes first, and nothing was touched:", *lines)),
            wanted=f"a signed word for each in {file_name(inputs['evidence']['stack'])}",
        )
