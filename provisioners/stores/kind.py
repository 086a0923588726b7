"""The kinds of resource whose data can come from a backup: one for each engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from model.errors import UnderstudyError
from provisioners.outcome import Say
from provisioners.provider.inputs import REACH, failures
from provisioners.provider.kinds import Failure, Real, Values
from provisioners.provider.machines import changing, reading
from provisioners.stores import landing, seeding
from provisioners.stores.filling import Engine, clear_left, fill
from provisioners.stores.seeding import seed_of


class SeededStore:
    """Kinds ``understudy:index:PostgresPrimary``, ``MariadbPrimary`` and ``FilesStore``.

    ``seed``, ``snapshot``, ``snapshot_digest`` and ``drilled_at`` say what it is filled with: a change of these
    restores anew, beside the data that serves, and only what passed all checks takes its place. Data that began empty
    (``seed: init``) is nobody's copy: it is never removed, and a later change of ``init_sql`` does not touch it.
    ``settings`` and ``hba`` are what a server begins with; from then on they are a service's files.
    """

    secret_outputs: frozenset[str] = frozenset()
    replace_on = frozenset({"store"})

    def __init__(self, engine: Engine) -> None:
        self._engine, self.token = engine, engine.TOKEN
        self.ignored = REACH | seeding.WAYS | engine.BEGINS

    def check(self, inputs: Mapping[str, Any]) -> tuple[Failure, ...]:
        """Return what is wrong with the inputs."""
        return (*failures(inputs, self._engine.RULES), *self._engine.refused(inputs))

    def foresee(self, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> Values:
        """Return all outputs where the data stays, and none where other data comes."""
        try:
            return dict(outputs) if outputs.get("key") == seed_of(inputs).key else {}
        except (TypeError, KeyError, AttributeError):  # something is not known yet
            return {}

    def create(self, inputs: Values, say: Say) -> tuple[str, Values]:
        """Fill it, unless the data that is wanted serves already, and let it serve.

        Raises:
            UnderstudyError: the backup is bad, or its data is; what served before still does.
        """
        seed, where = seed_of(inputs), self._engine.ground(inputs)
        with changing(inputs, f"the store {seed.store}", say) as shell:
            lie = landing.survey(shell, where)
            if seed.is_in(lie):
                clear_left(shell, self._engine, inputs, lie)
                self._engine.settle(shell, inputs, say, serving=True)
                assert lie.current is not None
                record = lie.current.seed
            else:
                record = fill(shell, self._engine, inputs, seed, lie, say)
            return f"{inputs['connection']['name']}:{seed.store}", {**record, "unit": where.unit}

    def read(self, identifier: str, inputs: Values, outputs: Values, say: Say) -> Real | None:
        """Return what really serves there."""
        if not inputs:
            raise UnderstudyError(where=identifier, found="a store is not imported", todo="Let `up` make it.")
        where = self._engine.ground(inputs)
        with reading(inputs, identifier, say) as shell:
            lie = landing.survey(shell, where)
            if lie.current is None or not lie.current.has_data or not lie.current.seed:
                return None
            found = self._engine.drifted(shell, inputs, lie)
        seed = lie.current.seed
        if seed.get("key") != seed_of(inputs).key:
            found["snapshot"] = str(seed.get("snapshot") or "none that is known")
        return Real(inputs={**inputs, **found}, outputs={**seed, "unit": where.unit})

    def update(self, identifier: str, old: Values, inputs: Values, outputs: Values, say: Say) -> Values:
        """Fill it anew where other data is wanted; otherwise change settings, rules and passwords in place."""
        return self.create(inputs, say)[1]

    def delete(self, identifier: str, inputs: Values, outputs: Values, say: Say) -> None:
        """Forget it: a store's data is never deleted with its resource."""
