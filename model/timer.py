"""The systemd units that run a drill every night. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Timer:
    """A command that is run at certain times.

    Args:
        name: of the units, without their ending.
        description: what it does, in a few words.
        argv: the command; its first word is an absolute path.
        directory: where it runs.
        environment: variables for it; no secrets, since everybody can read units.
        calendar: when, as systemd.time(7) has it.
    """

    name: str
    description: str
    argv: Sequence[str]
    directory: str
    environment: Mapping[str, str]
    calendar: str

    def files(self) -> dict[str, str]:
        """Return the units' texts by their file names."""
        return {f"{self.name}.service": self._service(), f"{self.name}.timer": self._timer()}

    def _service(self) -> str:
        variables = "".join(f"Environment={_quoted(f'{n}={value}')}\n" for n, value in sorted(self.environment.items()))
        # env, since systemd refuses a program whose path has a quotation mark in it.
        command = " ".join(("/usr/bin/env", "--", *(_word(word) for word in self.argv)))
        return (
            f"# Written by `understudy drill --install`.\n[Unit]\nDescription={_plain(self.description)}\n"
            f"After=network-online.target libvirtd.service\n\n[Service]\nType=oneshot\n"
            f"WorkingDirectory={_plain(self.directory)}\n{variables}"
            f"ExecStart={command}\nNice=10\nTimeoutStartSec=infinity\n"
            f"KillMode=mixed\nTimeoutStopSec=5min\n"
        )

    def _timer(self) -> str:
        return (
            f"# Written by `understudy drill --install`.\n[Unit]\nDescription={_plain(self.description)}\n\n"
            f"[Timer]\nOnCalendar={_plain(self.calendar)}\nRandomizedDelaySec=10min\nPersistent=yes\n\n"
            f"[Install]\nWantedBy=timers.target\n"
        )


def _plain(text: str) -> str:
    """Return a text that stands to the end of its line.

    Raises:
        ValueError: it has a line break.
    """
    if "\n" in text or "\r" in text:
        raise ValueError("a unit's value has no line break")
    return text.replace("%", "%%")


def _quoted(text: str) -> str:
    """Return an assignment, in which a dollar sign means itself.

    Source: systemd.exec(5), ``Environment=``.

    >>> _quoted('50% of "$HOME"')
    '"50%% of \\\\"$HOME\\\\""'
    """
    escaped = _plain(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _word(text: str) -> str:
    """Return one argument of a command, in which a dollar sign would begin a variable.

    Source: systemd.service(5), "Command lines".

    >>> _word('50% of "$HOME"')
    '"50%% of \\\\"$$HOME\\\\""'
    """
    return _quoted(text).replace("$", "$$")
