"""An AWS on loopback. Writes its address to the file that it is given, and serves until it is ended.

Where it is given a network too, its machines have public addresses in that, from the tenth on.
"""

from __future__ import annotations

import signal
import sys
from ipaddress import IPv4Network
from pathlib import Path

from moto.ec2.models import elastic_network_interfaces
from moto.server import ThreadedMotoServer


def serve(address: Path, *public: str) -> None:
    if public:
        addresses = map(str, list(IPv4Network(public[0]))[10:])
        vars(elastic_network_interfaces)["random_public_ip"] = lambda: next(addresses)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    unfinished = address.with_suffix(".new")
    unfinished.write_text(f"http://{host}:{port}")
    unfinished.rename(address)
    signal.pause()


if __name__ == "__main__":
    serve(Path(sys.argv[1]), *sys.argv[2:])
