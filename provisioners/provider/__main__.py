"""The process that the engine starts: ``python -m provisioners.provider ENGINE``."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn

import grpc
from google.protobuf import empty_pb2
from pulumi.runtime.proto import provider_pb2_grpc

from provisioners.outcome import stop_everything
from provisioners.provider.engine import Engine, end_with, end_with_line
from provisioners.provider.registry import kinds
from provisioners.provider.server import Provider

_CALLS = 128
"""Calls at a time; more wait. The engine asks for 4 per processor, each of which may wait for a machine."""
_LARGEST_MESSAGE = 400 * 1024 * 1024
"""Source: pulumi, sdk/go/common/util/rpcutil/serve.go."""


class Attached(Provider):
    """The provider beside Pulumi, to which each engine comes in turn."""

    def Cancel(self, request: Any, context: grpc.ServicerContext) -> empty_pb2.Empty:  # noqa: N802
        """Go on: the engine says so too where a preview has ended, or where it closes one of its clients.

        Where the user wants to stop, whoever started this says it, with a signal.
        Source: pulumi, pkg/host/host.go, ``ReleaseContext`` and ``hostManagedProvider.Close``.
        """
        return empty_pb2.Empty()


def main(provider: type[Provider] = Provider) -> NoReturn:
    """Serve until the engine ends."""
    address = next((argument for argument in sys.argv[1:] if not argument.startswith("-")), "")
    if not address:
        sys.exit("understudy's Pulumi provider is started by Pulumi: try `./run pulumi preview`")
    _server, port = _serve(provider(kinds(), Engine(address)))
    print(port, flush=True)
    end_with(address)


def serve_beside(line: int, port: int, serving: Callable[[], None]) -> NoReturn:
    """Serve the engines that come, until the other end of a pipe is let go of; SIGUSR1 stops all that is done.

    Args:
        line: the pipe's descriptor.
        port: of 127.0.0.1, which somebody reserved.
        serving: is called once it serves.
    """
    signal.signal(signal.SIGUSR1, lambda *_: stop_everything())
    _server, _ = _serve(Attached(kinds(), Engine("")), port)
    serving()
    end_with_line(line)


def _serve(provider: Provider, port: int = 0) -> tuple[grpc.Server, int]:
    executor = ThreadPoolExecutor(_CALLS, thread_name_prefix="call")
    server = grpc.server(executor, options=(("grpc.max_receive_message_length", _LARGEST_MESSAGE),))
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(provider, server)
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    return server, port


if __name__ == "__main__":
    main()
