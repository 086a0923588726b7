"""What a service's resource is told besides what it is to be: where words are signed, and how long restores take."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from components.templates import RenderedService
from model.errors import UnderstudyError
from model.evidence import drill_from_line


def aside_of(rendered: RenderedService, directory: Path, stack: str) -> dict[str, Any]:
    """Return the further inputs of a service; none where it has nothing to ask of people or databases.

    Args:
        rendered: the service on one machine.
        directory: the project's.
        stack: the stack's name.
    """
    restored = {each.store.name for each in rendered.migrations if each.back_out is None}
    signed = {"evidence": {"stack": stack, "project_directory": str(directory)}} if rendered.by_hand else {}
    measured = forecasts(directory) if restored else {}
    told = {"forecasts": {name: measured.get(name, "") for name in sorted(restored)}} if restored else {}
    return {**signed, **told}


def forecasts(directory: Path) -> Mapping[str, str]:
    """Return how long a restore of each store took in the newest good drill, in words, by the store's name."""
    newest: dict[str, tuple[str, str]] = {}
    for path in sorted(directory.glob("reports/*/drills.jsonl")):
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            with suppress(UnderstudyError):
                drill = drill_from_line(line)
                for each in drill.restores:
                    if each.restore_seconds is not None and each.green and drill.at > newest.get(each.store, ("",))[0]:
                        took = f"{each.restore_seconds:.0f} s in the drill of {drill.at} on {drill.stack}"
                        newest[each.store] = drill.at, took
    return {store: took for store, (_, took) in newest.items()}
