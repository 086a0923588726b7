"""The process that the engine starts: ``python -m provisioners.provider ENGINE``."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import grpc
from pulumi.runtime.proto import provider_pb2_grpc

from provisioners.provider.engine import Engine, end_with
from provisioners.provider.registry import kinds
from provisioners.provider.server import Provider

_CALLS = 128
"""Calls at a time; more wait. The engine asks for 4 per processor, each of which may wait for a machine."""
_LARGEST_MESSAGE = 400 * 1024 * 1024
"""Source: pulumi, sdk/go/common/util/rpcutil/serve.go."""


def main(provider: type[Provider] = Provider) -> None:
    """Serve until the engine ends."""
    address = next((argument for argument in sys.argv[1:] if not argument.startswith("-")), "")
    if not address:
        sys.exit("understudy's Pulumi provider is started by Pulumi: try `./run pulumi preview`")
    engine = Engine(address)
    executor = ThreadPoolExecutor(_CALLS, thread_name_prefix="call")
    server = grpc.server(executor, options=(("grpc.max_receive_message_length", _LARGEST_MESSAGE),))
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(provider(kinds(), engine), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    end_with(address)


if __name__ == "__main__":
    main()
