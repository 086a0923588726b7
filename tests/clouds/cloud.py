"""An AWS on loopback. Writes its address to the file that it is given, and serves until it is ended.

Where it is given a network too, its machines have public addresses in that, from the tenth on.
"""

from __future__ import annotations

import signal
import sys
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from moto.ec2.models import elastic_ip_addresses, elastic_network_interfaces, instances
from moto.server import ThreadedMotoServer


def serve(address: Path, *public: str) -> None:
    let_addresses_go()
    if public:
        addresses = map(str, list(IPv4Network(public[0]))[10:])
        vars(elastic_network_interfaces)["random_public_ip"] = lambda: next(addresses)
        vars(elastic_ip_addresses)["random_ip"] = lambda: next(addresses)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    unfinished = address.with_suffix(".new")
    unfinished.write_text(f"http://{host}:{port}")
    unfinished.rename(address)
    signal.pause()


def let_addresses_go() -> None:
    """See that a machine that ends takes its card with it, as in AWS; in moto the address stays taken."""
    usual = instances.Instance.terminate

    def terminate(machine: Any) -> Any:
        for card in machine.nics.values():
            card.delete_on_termination = True
        return usual(machine)

    setattr(instances.Instance, "terminate", terminate)  # noqa: B010  # for mypy a method is no variable


if __name__ == "__main__":
    serve(Path(sys.argv[1]), *sys.argv[2:])
