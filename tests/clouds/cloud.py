"""An AWS on loopback. Writes its address to the file that it is given, and serves until it is ended."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from moto.server import ThreadedMotoServer


def serve(address: Path) -> None:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    unfinished = address.with_suffix(".new")
    unfinished.write_text(f"http://{host}:{port}")
    unfinished.rename(address)
    signal.pause()


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
