"""A kind whose functions run on the host that its inputs name, be it this computer or another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from model.host_uri import LOCAL
from provisioners.hypervisor.door import door
from provisioners.outcome import Say
from provisioners.provider.inputs import TEXT, failures, optional
from provisioners.provider.kinds import Failure, Kind, Real, Telling, Values

_WHERE = ("host", "host_uri")
_RULES = {name: optional(TEXT) for name in _WHERE}


class OnItsHost:
    """A kind with two inputs more: ``host``, its name, and ``host_uri``, how it is reached; missing on this computer.

    Another host is another thing; another way to the same host is no difference.

    Args:
        kind: does it all, on whichever host it is run.
    """

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self.token, self.secret_outputs = kind.token, kind.secret_outputs
        self.replace_on = kind.replace_on | {"host"}
        self.ignored = kind.ignored | {"host_uri"}

    def check(self, inputs: Mapping[str, Any]) -> tuple[Failure, ...]:
        """Return what is wrong with the inputs."""
        where = {name: inputs[name] for name in _WHERE if name in inputs}
        return (*self._kind.check(_rest(inputs)), *failures(where, _RULES))

    def create(self, inputs: Values, say: Say) -> tuple[str, Values]:
        """Make it there."""
        identifier, outputs = self._call("create", inputs, _rest(inputs), say=say)
        return identifier, outputs

    def read(self, identifier: str, inputs: Values, outputs: Values, say: Say) -> Real | None:
        """Return what is really there."""
        found = self._call("read", inputs, identifier, _rest(inputs), outputs, say=say)
        if found is None:
            return None
        where = {name: inputs[name] for name in _WHERE if name in inputs}
        return Real(inputs={**found["inputs"], **where}, outputs=found["outputs"])

    def update(self, identifier: str, old: Values, inputs: Values, outputs: Values, say: Say) -> Values:
        """Change it there."""
        return dict(self._call("update", inputs, identifier, _rest(old), _rest(inputs), outputs, say=say))

    def delete(self, identifier: str, inputs: Values, outputs: Values, say: Say) -> None:
        """Take it away there."""
        self._call("delete", inputs, identifier, _rest(inputs), outputs, say=say)

    def consequence(self, old: Values, inputs: Mapping[str, Any]) -> str:
        """Return what a change will do, which nobody has to be asked for."""
        return self._kind.consequence(_rest(old), _rest(inputs)) if isinstance(self._kind, Telling) else ""

    def _call(self, verb: str, inputs: Values, *arguments: Any, say: Say) -> Any:
        return door(inputs.get("host_uri") or LOCAL).call(f"{self.token} {verb}", *arguments, say=say)


def _rest(inputs: Mapping[str, Any]) -> Values:
    return {key: value for key, value in inputs.items() if key not in _WHERE}
