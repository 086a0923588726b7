"""Runs `pulumi up`; where a change of a service fails on one of its machines, it is taken back on all of them.

`./run pulumi up` calls it. Beside Pulumi's own options it has two: `--back-out-all`, which is what happens anyway: what
the failed service's rollout changed is taken back, the last machine first; and `--continue`: the rollout goes on
without the machine that failed, which keeps the old. A run that is killed, or ended with Ctrl-C, is gone on with by the
next.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from cli.arguments import add_stack, project_directory, short_stack
from model.change.stopped import Failed, failed_in
from model.errors import UnderstudyError

CONTINUE, BACK_OUT_ALL = "--continue", "--back-out-all"
_HEARD = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How an update ended.

    Args:
        code: Pulumi's exit code.
        stopped: somebody asked it to stop.
        failed: services on machines whose change failed.
    """

    code: int
    stopped: bool
    failed: tuple[Failed, ...]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `understudy up`."""
    add_stack(parser)
    parser.add_argument("pulumi", nargs=argparse.REMAINDER, metavar="-- pulumi up …", help="what is run")


def run(arguments: argparse.Namespace) -> int:
    """Run it, and return its exit code; 1 where it went on without a machine."""
    words = [word for word in arguments.pulumi if word != "--"]
    command = [word for word in words if word not in (CONTINUE, BACK_OUT_ALL)]
    refuse_both(words)
    directory, stack = project_directory(arguments.cwd), short_stack(arguments.stack)
    ended, left_out = follow(command), list[Failed]()
    while CONTINUE in words and ended.failed and not ended.stopped and _may_be_left_out(ended.failed):
        left_out += ended.failed
        say(f"going on without {', '.join(f'{each.machine}:{each.service}' for each in ended.failed)}, which failed")
        without = (option for each in left_out for option in ("--exclude", each.urn))
        ended = follow([*command, "--yes", "--skip-preview", *without])
    if ended.stopped:
        return ended.code or 1
    from cli.change import _note, _rollout

    if ended.failed:
        _rollout.take_back_all(directory, stack, say, (*left_out, *ended.failed))
    elif left_out:
        _rollout.went_on(directory, stack, say, left_out)
    else:
        _note.forget_note(stack)
    return ended.code or (1 if left_out else 0)


def _may_be_left_out(failed: Sequence[Failed]) -> bool:
    """Tell whether the rollout can go on: Pulumi's state breaks where something depends on what was never made."""
    for each in failed:
        if each.new or each.goes:
            how = "is new there" if each.new else "goes"
            say(f"{each.machine}:{each.service} {how}: the rollout cannot go on without")
    return not any(each.new or each.goes for each in failed)


def refuse_both(words: Sequence[str]) -> None:
    """Refuse choices that do not go together.

    Raises:
        UnderstudyError: they do not.
    """
    given = [word for word in words if word in (CONTINUE, BACK_OUT_ALL)]
    if len(set(given)) > 1:
        raise UnderstudyError(where="pulumi up", found=" and ".join(given), wanted="one of the two")
    if CONTINUE in words and any(word.partition("=")[0] in ("--plan", "--target", "-t") for word in words):
        raise UnderstudyError(
            where=f"pulumi up {CONTINUE}",
            found="--plan or --target beside it",
            wanted="neither: what goes on without a machine is not what was planned",
        )


def follow(command: Sequence[str]) -> Ended:
    """Run Pulumi to its end, as if it were this process: what is sent to this one reaches it, and it dies with it."""
    with os.fdopen(os.memfd_create("events"), "rb") as events:  # in memory: nothing stays behind where this is killed
        argv = ("setpriv", "--pdeathsig", "KILL", "--", *command, "--event-log", f"/proc/self/fd/{events.fileno()}")
        # Without it Pulumi has no --event-log. Its own Automation API does the same.
        environment = {**os.environ, "PULUMI_DEBUG_COMMANDS": "true"}
        process = subprocess.Popen(argv, env=environment, pass_fds=(events.fileno(),))
        stopped = _wait(process)
        lines = events.read().decode(errors="replace").splitlines()
    return Ended(code=process.returncode, stopped=stopped, failed=failed_in(lines) if process.returncode else ())


def _wait(process: subprocess.Popen[bytes]) -> bool:
    """Wait for Pulumi, hand on what this process alone is sent, and return whether it was to stop.

    Source: Linux, sigaction(2): ``si_code`` is above 0 where the kernel sends a signal. Ctrl-C in a terminal is such a
    one, and Pulumi, in the same process group, has it already; a second one would cut it off.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _HEARD)
    stopped = False
    try:
        while process.poll() is None:
            heard = signal.sigwaitinfo(_HEARD)
            if heard.si_signo == signal.SIGCHLD:
                continue
            stopped = True
            if heard.si_code <= 0:
                process.send_signal(heard.si_signo)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return stopped


def say(line: str) -> None:
    """Show a line."""
    print(line, file=sys.stderr, flush=True)
