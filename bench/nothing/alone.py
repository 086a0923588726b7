"""The least that Pulumi's engine can be given: resources with one input, and a provider that does nothing."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pulumi
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc

from provisioners.provider.engine import end_with

PROJECT = """
name: alone
runtime: python
plugins:
  providers:
    - name: alone
      path: .
"""
PLUGIN = '#!/bin/sh\nexec python -m bench.nothing.alone "$@"\n'


def program(components: int, resources: int) -> str:
    """Return the text of a program that asks for so many components and so many resources of the provider.

    >>> print(program(2, 3))
    from bench.nothing.alone import ask
    ask(2, 3)
    """
    return f"from bench.nothing.alone import ask\nask({components}, {resources})"


def ask(components: int, resources: int) -> None:
    """Ask for them: each resource within one of the components."""
    parents = [pulumi.ComponentResource("alone:index:Component", f"c{number}") for number in range(components)]
    for number in range(resources):
        parent = parents[number % components]
        options = pulumi.ResourceOptions(parent=parent)
        pulumi.CustomResource("alone:index:Thing", f"r{number}", {"number": number}, options)


class Nothing(provider_pb2_grpc.ResourceProviderServicer):
    """Says that all is well. The names are the protocol's: pulumi, proto/pulumi/provider.proto."""

    def Handshake(self, request: Any, context: grpc.ServicerContext) -> provider_pb2.ProviderHandshakeResponse:
        """Agree."""
        return provider_pb2.ProviderHandshakeResponse()

    def Configure(self, request: Any, context: grpc.ServicerContext) -> provider_pb2.ConfigureResponse:
        """Agree."""
        return provider_pb2.ConfigureResponse(supportsPreview=True)

    def GetPluginInfo(self, request: Any, context: grpc.ServicerContext) -> plugin_pb2.PluginInfo:
        """Return a version."""
        return plugin_pb2.PluginInfo(version="1.0.0")

    def CheckConfig(self, request: Any, context: grpc.ServicerContext) -> provider_pb2.CheckResponse:
        """Agree."""
        return provider_pb2.CheckResponse(inputs=request.news)

    def DiffConfig(self, request: Any, context: grpc.ServicerContext) -> provider_pb2.DiffResponse:
        """See no difference."""
        return provider_pb2.DiffResponse(changes=provider_pb2.DiffResponse.DIFF_NONE)

    def Check(self, request: Any, context: grpc.ServicerContext) -> provider_pb2.CheckResponse:
        """Agree."""
        return provider_pb2.CheckResponse(inputs=request.news)

    def Diff(self, request: Any, context: grpc.ServicerContext) -> provider_pb2.DiffResponse:
        """See no difference."""
        return provider_pb2.DiffResponse(changes=provider_pb2.DiffResponse.DIFF_NONE)

    def Create(self, request: Any, context: grpc.ServicerContext) -> provider_pb2.CreateResponse:
        """Say that it was made."""
        return provider_pb2.CreateResponse(id=request.name, properties=request.properties)


def serve(address: str) -> None:
    """Serve until the engine at this address ends."""
    server = grpc.server(ThreadPoolExecutor(os.cpu_count()))
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(Nothing(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    end_with(address)


if __name__ == "__main__":
    import sys

    serve(sys.argv[1])
