"""Brings one service to many machines side by side, as the provider does: a process to be timed whole."""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from provisioners.provider.service import Service


def main(path: Path) -> None:
    """Apply all the inputs that a file holds; each is one machine's."""
    every: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    service = Service()
    with ThreadPoolExecutor(len(every)) as threads:
        made = list(threads.map(lambda inputs: service.create(inputs, lambda _: None), every))
    print(len(made))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
