"""Pulumi's language host for this program alone, where the program's process is started beside Pulumi, not by it.

Pulumi's own host starts one Python after another once it is asked, which takes most of a second. `./run pulumi` has
this one ready by then. ``pulumi up`` alone, with Pulumi's host, runs the very same program.
"""

from __future__ import annotations

import os
import runpy
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
from pulumi.automation._server import LanguageServer
from pulumi.runtime.proto import language_pb2, language_pb2_grpc

_LARGEST_MESSAGE = 400 * 1024 * 1024
"""Source: pulumi, sdk/go/common/util/rpcutil/serve.go."""


class LanguageHost(LanguageServer):
    """Runs the program in the directory that Pulumi names, as Pulumi's Automation API runs a function."""

    def __init__(self) -> None:
        super().__init__(_run_here)

    def Run(self, request: Any, context: grpc.ServicerContext) -> language_pb2.RunResponse:  # noqa: N802  # gRPC's name
        """Run it; what was wrong with it has been shown when this returns."""
        os.chdir(request.info.program_directory or request.pwd)
        done = super().Run(request, context)  # type: ignore[no-untyped-call]
        return language_pb2.RunResponse(bail=bool(done.error))


def _run_here() -> None:
    runpy.run_path(str(Path("__main__.py").resolve()), run_name="__main__")


class _After(grpc.ServerInterceptor):
    """Answers nothing before something else is there, or refuses where it never will be."""

    def __init__(self, wait: Callable[[], bool]) -> None:
        self._wait = wait

    def intercept_service(self, continuation: Callable[[Any], Any], details: Any) -> Any:
        """Return what serves a call: it waits in the call's own thread."""
        handler = continuation(details)
        if handler is None or handler.unary_unary is None:
            return handler

        def serve(request: Any, context: grpc.ServicerContext) -> Any:
            if not self._wait():
                context.abort(grpc.StatusCode.UNAVAILABLE, "the provider ended before it served, for the reason above")
            return handler.unary_unary(request, context)

        return grpc.unary_unary_rpc_method_handler(serve, handler.request_deserializer, handler.response_serializer)


def serve(wait: Callable[[], bool]) -> tuple[grpc.Server, int]:
    """Begin to serve; return the server, which ends with its last reference, and its port on 127.0.0.1.

    Args:
        wait: returns once calls may be answered, each time; whether they are.
    """
    options = (("grpc.max_receive_message_length", _LARGEST_MESSAGE),)
    server = grpc.server(ThreadPoolExecutor(4), interceptors=[_After(wait)], options=options)
    language_pb2_grpc.add_LanguageRuntimeServicer_to_server(LanguageHost(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, port


def get_ready() -> None:
    """Import what the program will import."""
    import components.environment
    import components.site  # noqa: F401
