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
        variables = "".join(
            f"Environment={_word(f'{name}={value}')}\n" for name, value in sorted(self.environment.items())
        )
        return (
            f"# Written by `understudy drill --install`.\n[Unit]\nDescription={_plain(self.description)}\n"
            f"After=network-online.target libvirtd.service\n\n[Service]\nType=oneshot\n"
            f"WorkingDirectory={_plain(self.directory)}\n{variables}"
            f"ExecStart={' '.join(_word(word) for word in self.argv)}\nNice=10\nTimeoutStartSec=infinity\n"
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


def _word(text: str) -> str:
    """Return one word of a command or an assignment, as systemd reads it.

    Source: systemd.service(5), "Command lines"; systemd.exec(5), ``Environment=``.

    >>> _word('50% of "$HOME"')
    '"50%% of \\\\"$$HOME\\\\""'
    """
    escaped = _plain(text).replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")
    return f'"{escaped}"'
