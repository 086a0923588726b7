"""The one root exception, and the fault of a configuration. Each message says where, wanted, found, and what to do."""

from __future__ import annotations

from dataclasses import dataclass


class UnderstudyError(Exception):
    """Root of all errors that a user can act on; its text is shown as it is, without a traceback.

    Args:
        where: the file and key, machine, or resource concerned.
        found: what was found there.
        wanted: what was expected; may be empty.
        todo: the next thing to do; may be empty.

    >>> print(UnderstudyError(where="db1", found="no answer", wanted="SSH on port 22", todo="Start it."))
    db1: no answer; wanted SSH on port 22. Start it.
    """

    def __init__(self, *, where: str, found: str, wanted: str = "", todo: str = "") -> None:
        self.where, self.found, self.wanted, self.todo = where, found, wanted, todo
        text = f"{where}: {found}"
        if wanted:
            text += f"; wanted {wanted}"
        super().__init__(f"{text}. {todo}" if todo else text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault of a configuration file.

    Args:
        file: the file's name, such as ``Pulumi.prod.yaml``.
        key: the path of the key, such as ``machines.db1.memory``.
        found: what stands there, in its own notation.
        allowed: what may stand there.
    """

    file: str
    key: str
    found: str
    allowed: str

    def __str__(self) -> str:
        return f"{self.file}: {self.key}: found {self.found}; allowed: {self.allowed}"


class ConfigurationError(UnderstudyError):
    """All faults of a configuration at once.

    Args:
        faults: at least one fault, in the order in which a reader of the file meets them.
    """

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        self.faults = faults
        self.where, self.found, self.wanted, self.todo = faults[0].file, f"{len(faults)} faults", "", ""
        Exception.__init__(self, "\n".join(str(fault) for fault in faults))
