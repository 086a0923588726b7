"""Kinds that earlier versions had. A state may still hold them; what they made belongs to a `Service` now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from model.errors import UnderstudyError
from provisioners.outcome import Say
from provisioners.provider.kinds import Failure, Real, Values


class Retired:
    """A kind that nothing makes any more, and whose deletion leaves the machine alone."""

    secret_outputs: frozenset[str] = frozenset()
    replace_on: frozenset[str] = frozenset()
    ignored: frozenset[str] = frozenset()

    def __init__(self, token: str) -> None:
        self.token = token

    def check(self, inputs: Mapping[str, Any]) -> tuple[Failure, ...]:
        """Nothing is wrong with what is there."""
        return ()

    def create(self, inputs: Values, say: Say) -> tuple[str, Values]:
        """Refuse.

        Raises:
            UnderstudyError: always.
        """
        raise UnderstudyError(where=self.token, found="this version makes none", wanted="understudy:index:Service")

    def read(self, identifier: str, inputs: Values, outputs: Values, say: Say) -> Real | None:
        """Return what the state says."""
        return Real(inputs=inputs, outputs=outputs)

    def update(self, identifier: str, old: Values, inputs: Values, outputs: Values, say: Say) -> Values:
        """Leave it as it is."""
        return outputs

    def delete(self, identifier: str, inputs: Values, outputs: Values, say: Say) -> None:
        """Forget it: the service that has taken it over is there already."""


RETIRED = tuple(Retired(f"understudy:index:{name}") for name in ("File", "Unit"))
