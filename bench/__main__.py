"""Measure and write the figures into the README: ``./run python -m bench [boots|restores|hundred|many …]``.

Each part is written as soon as it is measured; what was measured earlier stays until it is measured again.
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from bench import disaster, figures, hosts, many, previews, rehearsal, restores, spread
from bench.figures import Figure, Say
from bench.table import caption, replaced, table
from images import build
from provisioners.hypervisor import accelerator

README = Path(__file__).parents[1] / "README.md"
PARTS: Mapping[str, Callable[[Say], tuple[Figure, ...]]] = {
    "hundred": previews.hundred,
    "many": many.many,
    "probe": hosts.probing,
    "placement": hosts.placing,
    "boots": figures.boots,
    "restores": restores.restores,
    "rehearsal": rehearsal.rehearsal,
    "spread": spread.spread,
    "stage": previews.stage,
    "dr": disaster.recovery,
}
WITHOUT_MACHINES = ("hundred", "many", "probe", "placement", "dr")


def main() -> int:
    """Measure what was asked for, print the tables, and write them into the README."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("part", nargs="*", choices=[[], *PARTS], help="what to measure; otherwise all")
    parser.add_argument("--mebibytes", type=int, help="a smaller or larger restore; then nothing is written")
    parser.add_argument("--print", action="store_true", help="only print the tables")
    arguments = parser.parse_args()
    failed = [part for part in arguments.part or PARTS if not _measure(part, arguments)]
    if failed:
        _say(f"could not be measured: {', '.join(failed)}")
    return 1 if failed else 0


def _measure(part: str, arguments: argparse.Namespace) -> bool:
    """Measure one part, and return whether that worked: one that fails does not keep the others from being measured."""
    try:
        kind = accelerator.choose(lambda: build.ensure(_say).kernel, _say).kind if part not in WITHOUT_MACHINES else ""
        if part == "restores" and arguments.mebibytes:
            measured = restores.restores(_say, mebibytes=arguments.mebibytes)
        else:
            measured = PARTS[part](_say)
    except Exception:  # noqa: BLE001  # whatever it is, it is shown
        traceback.print_exc()
        return False
    text = f"{caption(datetime.now(UTC).date(), os.cpu_count() or 1, kind)}\n\n{table(measured)}"
    print(text, flush=True)
    if not arguments.print and not arguments.mebibytes:
        README.write_text(replaced(README.read_text(encoding="utf-8"), part, text), encoding="utf-8")
    return True


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
