"""The program that runs on another host of virtual machines: one request on standard input, lines of JSON back.

It is this project's own code for a host, in one file, run by the host's own Python; nothing is installed there. While
it works it writes something each second: where nobody reads it any more, it stops.
"""

from __future__ import annotations

import io
import json
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from model.errors import UnderstudyError
from provisioners.outcome import stop_everything

_ROOT = Path(__file__).parents[2]
_FILES = (
    "images/__init__.py",
    "images/cache.py",
    "model/*.py",
    "provisioners/__init__.py",
    "provisioners/commands.py",
    "provisioners/hypervisor/*.py",
    "provisioners/hypervisor/*.sh",
    "provisioners/outcome.py",
    "provisioners/provider/__init__.py",
    "provisioners/provider/inputs.py",
    "provisioners/provider/kinds.py",
    "provisioners/this_computer.py",
)
_MAIN = "from provisioners.hypervisor.edge import main\n\nmain()\n"
_LONG_AGO = (1980, 1, 1, 0, 0, 0)
_BEAT_SECONDS = 1.0


def archive() -> bytes:
    """Return the program: the same bytes each time that the same code goes in."""
    whole = io.BytesIO()
    with ZipFile(whole, "w") as out:
        for name, content in _contents():
            out.writestr(ZipInfo(name, _LONG_AGO), content, ZIP_DEFLATED)
    return whole.getvalue()


def _contents() -> Iterator[tuple[str, bytes]]:
    yield "__main__.py", _MAIN.encode()
    paths = sorted(path for pattern in _FILES for path in _ROOT.glob(pattern))
    yield from ((path.relative_to(_ROOT).as_posix(), path.read_bytes()) for path in paths)


def main() -> None:
    """Answer one request."""
    os.umask(0o022)
    request = json.loads(sys.stdin.buffer.read())
    guard, over = threading.Lock(), threading.Event()

    def write(**line: Any) -> None:
        try:
            with guard:
                print(json.dumps(line), flush=True)
        except OSError:  # nobody is there any more
            stop_everything()

    def beat() -> None:
        while not over.wait(_BEAT_SECONDS):
            write()

    threading.Thread(target=beat, daemon=True).start()
    from provisioners.hypervisor.acts import act

    try:
        write(result=act(request["act"], request["arguments"], lambda text: write(say=text)))
    except UnderstudyError as error:
        told = {name: getattr(error, name) for name in ("where", "found", "wanted", "todo")}
        write(error=told, kind=type(error).__name__)
    except OSError as error:
        write(error={"where": "this host", "found": str(error)}, kind="UnderstudyError")
    over.set()
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123  # its end would complain of a reader that is gone
