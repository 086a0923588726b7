"""An AWS on loopback. Writes its address to the file that it is given, and serves until it is ended.

Where it is given a network too, its machines have public addresses in that, from the tenth on; and where it is given
``REGION=NETWORK``, those that they keep in that region are of that one.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from moto.ec2.models import elastic_ip_addresses, elastic_network_interfaces, instances
from moto.server import ThreadedMotoServer


def serve(address: Path, *public: str) -> None:
    let_addresses_go()
    if public:
        give_addresses(public[0], dict(each.split("=") for each in public[1:]))
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    unfinished = address.with_suffix(".new")
    unfinished.write_text(f"http://{host}:{port}")
    unfinished.rename(address)
    signal.pause()


def give_addresses(network: str, elsewhere: Mapping[str, str]) -> None:
    """Give machines public addresses of a network; those that they keep in some regions are of others."""
    usual = elastic_ip_addresses.ElasticAddressBackend.allocate_address
    anywhere, own = _addresses(network), {region: _addresses(text) for region, text in elsewhere.items()}

    def allocate(backend: Any, domain: str, address: str | None = None, tags: Any = None) -> Any:
        return usual(backend, domain, address or next(own.get(backend.region_name, anywhere)), tags)

    vars(elastic_network_interfaces)["random_public_ip"] = lambda: next(anywhere)
    setattr(elastic_ip_addresses.ElasticAddressBackend, "allocate_address", allocate)  # noqa: B010  # as below


def _addresses(network: str) -> Iterator[str]:
    return map(str, list(IPv4Network(network))[10:])


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
