"""The resource that keeps the report's file, and the way for a drill to write itself into it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from model.errors import UnderstudyError
from model.evidence import Drill, document_from, drill_from_line
from model.evidence.records import drill_from_values
from provisioners.hypervisor.host import write_whole
from provisioners.outcome import Say
from provisioners.provider.inputs import PATH, TEXT, Rule, failures, optional
from provisioners.provider.kinds import Failure, Real, Values
from provisioners.report.page import page_data, report_html


def _describes(value: Any) -> bool:
    try:
        document_from(value)
    except UnderstudyError:
        return False
    return True


_RULES: Mapping[str, Rule] = {
    "path": PATH,
    "document": Rule(good=_describes, allowed="a document as model.evidence describes it"),
    "drills_path": optional(TEXT),
}


class Report:
    """Kind ``understudy:index:Report``."""

    token = "understudy:index:Report"
    secret_outputs: frozenset[str] = frozenset()
    replace_on = frozenset({"path"})
    ignored = frozenset({"drills_path"})

    def check(self, inputs: Mapping[str, Any]) -> tuple[Failure, ...]:
        """Return what is wrong with the inputs; of a document, what exactly."""
        found = failures(inputs, _RULES)
        if any(failure.property == "document" for failure in found) and inputs.get("document") is not None:
            try:
                document_from(inputs["document"])
            except UnderstudyError as error:
                rest = [failure for failure in found if failure.property != "document"]
                return (*rest, Failure(property="document", reason=str(error)))
        return found

    def create(self, inputs: Values, say: Say) -> tuple[str, Values]:
        """Write the page."""
        _write(inputs["path"], inputs["document"], inputs.get("drills_path") or "")
        return str(inputs["path"]), {"digest": digest(inputs["document"])}

    def read(self, identifier: str, inputs: Values, outputs: Values, say: Say) -> Real | None:
        """Return the document that the page holds; one that was changed by hand shows as another."""
        path = str(inputs.get("path") or identifier)
        page = _text(path)
        if page is None:
            return None
        document = _untouched(page)
        if document is None:
            document = {"changed by hand": hashlib.sha256(page.encode()).hexdigest()}
        real = {"drills_path": "", **inputs, "path": path, "document": document}
        return Real(inputs=real, outputs={"digest": digest(document)})

    def update(self, identifier: str, old: Values, inputs: Values, outputs: Values, say: Say) -> Values:
        """Write the page anew."""
        return self.create(inputs, say)[1]

    def delete(self, identifier: str, inputs: Values, outputs: Values, say: Say) -> None:
        """Remove the page, and its folder where nothing else is in it. The drills' history is evidence: it stays."""
        path = Path(inputs["path"])
        path.unlink(missing_ok=True)
        if path.parent.name == inputs["document"].get("stack"):
            try:
                path.parent.rmdir()
            except OSError:
                return


def digest(document: Mapping[str, Any]) -> str:
    """Return what tells one document from another."""
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def refresh(path: str, drills_path: str, failure: str | None = None) -> None:
    """Write the page anew with the document that it holds and the present history.

    Args:
        path: the page.
        drills_path: the history.
        failure: why the last update failed, empty where it did not; None where that is as it was.

    Raises:
        UnderstudyError: there is no such page, or it cannot be written.
    """
    page = _text(path)
    data = page_data(page) if page is not None else None
    if data is None:
        todo = "`pulumi up` writes it."
        raise UnderstudyError(
            where=path, found="nothing" if page is None else "another file", wanted="a report", todo=todo
        )
    if failure is None or failure != data[3]:
        _write(path, data[0], drills_path, data[3] if failure is None else failure)


def read_drills(path: str) -> tuple[tuple[Drill, ...], int]:
    """Return the drills of a history, and how many of its lines cannot be read.

    Raises:
        UnderstudyError: the file is there and cannot be opened.
    """
    text = _text(path) if path else None
    drills, unreadable = [], 0
    for line in (text or "").split("\n"):
        if not line.strip():
            continue
        try:
            drills.append(drill_from_line(line))
        except UnderstudyError:
            unreadable += 1
    return tuple(drills), unreadable


def _write(path: str, document: Mapping[str, Any], drills_path: str, failure: str = "") -> None:
    page = report_html(document, *read_drills(drills_path), failure)
    try:
        write_whole(Path(path), page, mode=0o644)
    except OSError as error:
        raise UnderstudyError(where=path, found=f"cannot be written: {error.strerror}") from error


def _text(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UnderstudyError(where=path, found=f"cannot be read: {error.strerror}") from error


def _untouched(page: str) -> dict[str, Any] | None:
    """Return the document of a page that is as we wrote it, else None."""
    data = page_data(page)
    if data is None:
        return None
    values, drills, unreadable, failure = data
    try:
        again = report_html(values, [drill_from_values(drill) for drill in drills], unreadable, failure)
    except UnderstudyError:
        return None
    return values if again == page else None
