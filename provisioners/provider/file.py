"""A file on a machine: its content shows line by line in a preview; taken away, what was there before us comes back."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from model.connection import connection_of_url
from model.errors import UnderstudyError
from provisioners.changes.seen import SHOWN_BYTES, seen
from provisioners.commands import back, scripted
from provisioners.outcome import CommandFailed, Say, last_lines
from provisioners.provider.inputs import ACCOUNT, COMMON, MODE, PATH, REACH, TEXT, UNIT, WORDS, Rule, failures, optional
from provisioners.provider.kinds import UNKNOWN, Failure, HalfMade, Real, Values
from provisioners.provider.machines import changing, reach_of, reading
from provisioners.provider.unit import NotRightError, not_right, status
from provisioners.shell import Shell

ORIGINALS = "/var/lib/understudy-guest/originals"
"""On the machine, for root alone: what was at each path before us."""

_EMPTY_OR_UNIT = Rule(good=lambda value: value == "" or UNIT.good(value), allowed=UNIT.allowed)
_RULES: Mapping[str, Rule] = {
    **COMMON,
    "path": PATH,
    "content": TEXT,
    "mode": optional(MODE),
    "owner": optional(ACCOUNT),
    "group": optional(ACCOUNT),
    "validate": optional(WORDS),
    "reload": optional(_EMPTY_OR_UNIT),
}


class File:
    """Kind ``understudy:index:File``."""

    token = "understudy:index:File"
    secret_outputs: frozenset[str] = frozenset()
    replace_on = frozenset({"path"})
    ignored = REACH | {"validate", "reload"}

    def check(self, inputs: Mapping[str, Any]) -> tuple[Failure, ...]:
        """Return what is wrong with the inputs."""
        return failures(inputs, _RULES)

    def foresee(self, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> Values:
        """Return the digest, where the content is known."""
        return {} if inputs["content"] is UNKNOWN else {"digest": digest(inputs["content"])}

    def create(self, inputs: Values, say: Say) -> tuple[str, Values]:
        """Write it, and remember once what was there before.

        Raises:
            UnderstudyError: it was not written; what was there before still is.
            HalfMade: it was written, and its service refuses it.
        """
        made = f"{inputs['connection']['name']}:{inputs['path']}", {"digest": digest(inputs["content"])}
        with changing(inputs, f"writing {inputs['path']}", say) as shell:
            _write(shell, inputs)
            try:
                _reload(shell, inputs)
            except NotRightError as error:
                raise HalfMade(identifier=made[0], outputs=made[1], cause=error) from error
        return made

    def read(self, identifier: str, inputs: Values, outputs: Values, say: Say) -> Real | None:
        """Return what is really there, also where somebody changed it by hand; imports ``ssh://user@host/path``."""
        path = inputs["path"] if inputs else connection_of_url(identifier)[1]
        with reading(inputs, identifier, say) as shell:
            found, reach = seen(shell.run(scripted("show", path, str(SHOWN_BYTES + 1))).stdout), reach_of(shell)
        if found is None:
            return None
        wanted = inputs or {**reach, "path": path}
        content = found.content_beside(wanted.get("content"))
        return Real(inputs={**wanted, **found.beside(wanted), "content": content}, outputs={"digest": digest(content)})

    def update(self, identifier: str, old: Values, inputs: Values, outputs: Values, say: Say) -> Values:
        """Write it anew."""
        return self.create(inputs, say)[1]

    def delete(self, identifier: str, inputs: Values, outputs: Values, say: Say) -> None:
        """Put back what was there before us, or remove it where nothing was."""
        with changing(inputs, f"backing out {inputs['path']}", say, identifier) as shell:
            shell.run(back(inputs["path"], keep=ORIGINALS))
            try:
                _reload(shell, inputs)
            except NotRightError as error:
                say(f"{error.where} does not take what was there before")  # it ran on that, or was not ours


def digest(content: str) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal."""
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()


def _write(shell: Shell, inputs: Values) -> None:
    mode, owner, group = (
        inputs.get(key) or usual for key, usual in (("mode", "0644"), ("owner", "root"), ("group", "root"))
    )
    try:
        shell.put(
            inputs["content"].encode("utf-8", "surrogatepass"),
            inputs["path"],
            mode=mode,
            owner=owner,
            group=group,
            keep=ORIGINALS,
            validate=inputs.get("validate") or (),
        )
    except CommandFailed as error:
        raise UnderstudyError(
            where=f"{shell.connection.name}: {inputs['path']}",
            found=f"was not written: {last_lines(error.result.stderr) or error.found}",
            todo="What was there before is still there.",
        ) from error


def _reload(shell: Shell, inputs: Values) -> None:
    """Let the service take the file. One that does not run is left alone.

    Raises:
        NotRightError: it refuses.
    """
    unit = inputs.get("reload")
    if unit:
        done = shell.run(("systemctl", "try-reload-or-restart", "--", unit), check=False)
        if done.code != 0:
            raise not_right(shell, unit, status(shell, unit), done.stderr, wanted=True)
