"""Long commands on a machine that survive a dropped connection and a dead controller, and are found again.

A job has a name, of which there is one at a time, and a key, which says what it does for which inputs. Asking for the
same name and key follows what runs already, or returns what has ended well; another key ends what runs first.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from model.errors import UnderstudyError
from provisioners.commands import limited, scripted
from provisioners.outcome import CommandFailed, Result
from provisioners.shell import Shell

DIRECTORY = "/var/lib/understudy-jobs"
_NAME = re.compile(r"^[a-z0-9][a-z0-9-]{0,60}$")
_KEPT_LINES = 40
_DAY_SECONDS = 86400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class JobState:
    """What is known of a job on a machine.

    Args:
        state: ``died`` where it ended without a code, as when the machine was restarted.
        key: what it was started for; empty where absent.
        code: the code with which it ended; None before.
    """

    state: Literal["absent", "running", "ended", "died"]
    key: str = ""
    code: int | None = None


def find_job(shell: Shell, name: str) -> JobState:
    """Return what is known of the job with this name."""
    return _state(shell.run(scripted("job_state", _directory(name))).text)


def run_job(
    shell: Shell,
    name: str,
    key: str,
    argv: Sequence[str],
    *,
    on_line: Callable[[str], None] = lambda _: None,
    environment: Mapping[str, str] | None = None,
    stdin_file: str = "/dev/null",
    timeout_seconds: float = _DAY_SECONDS,
) -> Result:
    """Run a job, or follow the one that runs already, until it has ended well.

    It stays known until `end_job`: whoever asks for the same name and key again is told that it is done.

    Args:
        shell: the machine.
        name: lower-case letters, digits and ``-``.
        key: what it does for which inputs, such as a digest of them.
        argv: the command; no secrets.
        on_line: is given each line that it prints, from the first one on, also when it was started earlier.
        environment: variables for it; may be secret.
        stdin_file: a file on the machine that it reads.
        timeout_seconds: it is ended after this long.

    Returns:
        Its last lines, as standard output.

    Raises:
        CommandFailed: it ended with another code than 0, or without one.
        ConnectionLost, Stopped: the job goes on; ask for it again.
    """
    directory = _directory(name)
    sent = b"".join(f"{variable}={value}\0".encode() for variable, value in (environment or {}).items())
    start = scripted("job_start", directory, name, key, stdin_file, *limited(argv, seconds=timeout_seconds))
    shell.run(start, stdin=sent)
    last: deque[str] = deque(maxlen=_KEPT_LINES)

    def heard(line: str) -> None:
        last.append(line)
        on_line(line)

    shell.stream_lines(scripted("job_follow", directory), heard, check=False)
    ended = _state(shell.run(scripted("job_state", directory, "50")).text)
    output = "\n".join(last).encode()
    result = Result(argv=tuple(argv), stdout=output, stderr=b"", code=-1 if ended.code is None else ended.code)
    if ended.code != 0:
        found = "" if ended.code is not None else f"{ended.state}, without saying how it ended"
        raise CommandFailed(shell.connection.name, result, found)
    return result


def end_job(shell: Shell, name: str) -> None:
    """End the job if it runs, and forget it."""
    shell.run(scripted("job_end", _directory(name), name))


def _directory(name: str) -> str:
    if not _NAME.match(name):
        raise UnderstudyError(
            where=f"job {name!r}", found="an unusable name", wanted="lower-case letters, digits and -"
        )
    return f"{DIRECTORY}/{name}"


def _state(text: str) -> JobState:
    *key, last = text.split("\n")
    if last == "absent":
        return JobState(state="absent")
    if last.startswith("code "):
        return JobState(state="ended", key="\n".join(key), code=int(last.removeprefix("code ")))
    return JobState(state="running" if last == "running" else "died", key="\n".join(key))
