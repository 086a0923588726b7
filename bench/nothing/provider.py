"""Our provider, which answers at once that things on machines were made. It makes the state that is then previewed.

The preview itself is answered by the real one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import grpc
from pulumi.runtime.proto import provider_pb2

from provisioners.provider.__main__ import main
from provisioners.provider.kinds import Foreseeing
from provisioners.provider.registry import kinds
from provisioners.provider.server import Provider
from provisioners.provider.wire import message, plain

_STORE = {"checks": [], "data_id": "1", "snapshot": "", "taken_at": "", "system_identifier": "1"}
OUTPUTS: Mapping[str, Mapping[str, Any]] = {
    "understudy:index:Filesystem": {},
    "understudy:index:HttpCheck": {"ok": True, "detail": "200, 0 bytes", "seconds": 0.0},
    "understudy:index:PostgresPrimary": {**_STORE, "data_age_seconds": None, "restore_seconds": None},
    "understudy:index:PostgresReplica": {"checks": [], "lag_bytes": 0},
    "understudy:index:Service": {"puppet": [], "change": "", "backup": "", "steps_done": 0},
}
"""What is said of each kind that would need a machine. Keys, passwords and the report are really made."""


class Answering(Provider):
    """The real provider, but for what needs a machine."""

    def Create(self, request: Any, context: grpc.ServicerContext) -> provider_pb2.CreateResponse:  # noqa: N802
        """Say that it was made."""
        token = request.type
        if request.preview or token not in OUTPUTS:
            return super().Create(request, context)
        kind, inputs = kinds()[token], plain(request.properties)
        certain = kind.foresee(inputs, {}) if isinstance(kind, Foreseeing) else {}
        return provider_pb2.CreateResponse(
            id=request.name, properties=message({**inputs, **OUTPUTS[token], **certain}, kind.secret_outputs)
        )


if __name__ == "__main__":
    main(Answering)
