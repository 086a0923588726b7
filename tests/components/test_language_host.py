"""The program's host answers once what Pulumi was told of beside it is there."""

from __future__ import annotations

import threading
from contextlib import closing

import grpc
import pytest
from google.protobuf import empty_pb2
from pulumi.runtime.proto import language_pb2_grpc

from components.language_host import serve


def ask(port: int, seconds: float) -> object:
    """Ask the host something, wait so many seconds for the answer, and return it."""
    with closing(grpc.insecure_channel(f"127.0.0.1:{port}")) as channel:
        return language_pb2_grpc.LanguageRuntimeStub(channel).GetPluginInfo(empty_pb2.Empty(), timeout=seconds)


def test_it_answers_nothing_before() -> None:
    there = threading.Event()
    server, port = serve(there.wait)
    with pytest.raises(grpc.RpcError) as refused:
        ask(port, 0.5)
    assert refused.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    there.set()
    assert ask(port, 30)
    server.stop(None)


def test_it_refuses_where_that_never_will_be() -> None:
    server, port = serve(lambda: False)
    with pytest.raises(grpc.RpcError) as refused:
        ask(port, 30)
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    assert "the provider ended" in str(refused.value.details())
    server.stop(None)
