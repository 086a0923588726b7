"""Measure everything and write the table into the README: ``./run python -m bench [boots|previews …]``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bench import figures, restores
from bench.table import replaced, table

README = Path(__file__).parents[1] / "README.md"
PARTS = {"boots": figures.boots, "restores": restores.restores, "previews": figures.previews}


def main() -> None:
    """Measure what was asked for, print the table, and write it into the README when it is whole."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("part", nargs="*", choices=[[], *PARTS], help="default: all, and the README is written")
    chosen = parser.parse_args().part or list(PARTS)
    measured = [
        figure for part in chosen for figure in PARTS[part](lambda line: print(line, file=sys.stderr, flush=True))
    ]
    text = table(measured)
    print(text)
    if set(chosen) == set(PARTS):
        README.write_text(replaced(README.read_text(encoding="utf-8"), text), encoding="utf-8")


if __name__ == "__main__":
    main()
