"""Runs a command of `pulumi` on a stack that is prepared for it; `./run pulumi` calls it.

What Pulumi will need is started while the stack is prepared. Of `pulumi up`: where a change of a service fails on one
of its machines, it is taken back on all of them. Beside Pulumi's own options it has two: `--back-out-all`, which is
what happens anyway: what the failed service's rollout changed is taken back, the last machine first; and `--continue`:
the rollout goes on without the machine that failed, which keeps the old. A run that is killed, or ended with Ctrl-C, is
gone on with by the next.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from cli._beside import ATTACHED, Beside, attached
from cli.arguments import add_stack, project_directory, short_stack
from model.errors import UnderstudyError

if TYPE_CHECKING:
    from model.change.stopped import Failed

CONTINUE, BACK_OUT_ALL = "--continue", "--back-out-all"
_ELSEWHERE = ("--remote", "--attach-debugger", "--client")
"""Options with which Pulumi's own host, or somebody's, runs the program."""
_LOOK_SECONDS = 1.0
_TOLD = 3
"""How many errors the report's first lines name."""
_HEARD = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How an update ended.

    Args:
        code: Pulumi's exit code.
        stopped: somebody asked it to stop.
        failed: services on machines whose change failed.
        errors: what went wrong, with the resource's name before it.
    """

    code: int
    stopped: bool
    failed: tuple[Failed, ...]
    errors: tuple[str, ...] = ()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `understudy pulumi`."""
    add_stack(parser)
    parser.add_argument("--verb", required=True, help="what the command does: up, preview, …")
    parser.add_argument("--busy", action="store_true", help="somebody changes the stack: nothing is prepared")
    parser.add_argument("--lock", type=int, metavar="DESCRIPTOR", help="closed as soon as the stack is prepared")
    parser.add_argument("pulumi", nargs=argparse.REMAINDER, metavar="-- pulumi …", help="what is run")


def run(arguments: argparse.Namespace) -> int:
    """Run it, and return its exit code; 1 where it went on without a machine."""
    directory, stack, verb = project_directory(arguments.cwd), short_stack(arguments.stack), arguments.verb
    words: list[str] = arguments.pulumi[1:] if arguments.pulumi[:1] == ["--"] else arguments.pulumi
    if verb == "up":
        refuse_both(words)
    with Beside(directory) as beside:
        from cli.preflight import prepare  # while those start

        if not arguments.busy and not prepare(directory, stack, verb):
            return 1
        _let_go_of_machines()
        if arguments.lock is not None:
            os.close(arguments.lock)
        here = verb in ("up", "preview") and not any(word.partition("=")[0] in _ELSEWHERE for word in words)
        if here:
            words = [*words, "--client", f"127.0.0.1:{beside.program()}"]
        # The program's host, which Pulumi asks first, answers when the provider serves.
        provider = beside.provider(serves=not here)
        environment = {**os.environ, ATTACHED: attached(provider, os.environ.get(ATTACHED, ""))}
        runner = _Runner(environment=environment, beside=beside)
        if verb != "up":
            return runner.run(words)[0]
        words = [*words, *_held(words)]
        refuse_both(words)
        command = [word for word in words if word not in (CONTINUE, BACK_OUT_ALL)]
        left_out, ended = runner.roll_out(command, goes_on=CONTINUE in words)
    if ended.stopped:
        return ended.code or 1
    tell_report(directory, stack, ended, left_out)
    from cli.change import _note, _rollout

    if ended.failed:
        _rollout.take_back_all(directory, stack, say, (*left_out, *ended.failed))
    elif left_out and not ended.code:
        _rollout.went_on(directory, stack, say, left_out)
    elif not left_out:
        _note.forget_note(stack)
    return ended.code or (1 if left_out else 0)


def tell_report(directory: Path, stack: str, ended: Ended, left_out: Sequence[Failed]) -> None:
    """Say in the stack's report, which is else of the update before, that this one failed; or that no longer."""
    from cli.drill_history import history_path
    from provisioners.report.kind import refresh

    history = history_path(directory, stack)
    page = history.with_name("report.html")
    if not page.exists():
        return
    errors = ended.errors or (("what Pulumi printed says why",) if ended.code else ())
    errors = (*(f"{each.machine}:{each.service} was left out" for each in left_out), *errors)
    more = f"; and {len(errors) - _TOLD} more" if len(errors) > _TOLD else ""
    try:
        refresh(str(page), str(history), "; ".join(errors[:_TOLD]) + more)
    except UnderstudyError as error:
        say(f"the report does not have how this update ended: {error}")


def _held(words: Sequence[str]) -> tuple[str, ...]:
    """Return the options by which `pulumi up` keeps to what the change document says.

    Preflight has looked, and Pulumi looks again.
    """
    from cli.preflight import HELD_BY

    plan = os.environ.get(HELD_BY, "")
    if any(word.partition("=")[0] == "--plan" for word in words) or not plan or not Path(plan).exists():
        return ()
    return ("--plan", plan) if Path(plan).stat().st_size else ()


def _let_go_of_machines() -> None:
    """Close the connections that the preparation made: the provider has its own, and waits for a machine's lock."""
    if "provisioners.shell" in sys.modules:
        from provisioners.shell import close_all

        close_all()


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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Runner:
    """Runs Pulumi as if it were this process.

    Args:
        environment: its environment variables.
        beside: what was started for it.
    """

    environment: Mapping[str, str]
    beside: Beside

    def roll_out(self, command: Sequence[str], *, goes_on: bool) -> tuple[Sequence[Failed], Ended]:
        """Run `pulumi up`, again without what failed where it goes on; return what was left out, and the last end."""
        ended = self.follow(command)
        left_out: list[Failed] = []
        while goes_on and ended.failed and not ended.stopped and _may_be_left_out(ended.failed):
            left_out += ended.failed
            names = ", ".join(f"{each.machine}:{each.service}" for each in ended.failed)
            say(f"going on without {names}, which failed")
            without = (option for each in left_out for option in ("--exclude", each.urn))
            ended = self.follow([*command, "--yes", "--skip-preview", *without])
        return left_out, ended

    def follow(self, command: Sequence[str]) -> Ended:
        """Run it to its end, and return what its events say."""
        with os.fdopen(os.memfd_create("events"), "rb") as events:  # in memory: nothing stays behind a kill
            # Without it Pulumi has no --event-log. Its own Automation API does the same.
            environment = {**self.environment, "PULUMI_DEBUG_COMMANDS": "true"}
            log = ("--event-log", f"/proc/self/fd/{events.fileno()}")
            code, stopped = replace(self, environment=environment).run([*command, *log], events.fileno())
            lines = events.read().decode(errors="replace").splitlines()
        if not code:
            return Ended(code=0, stopped=stopped, failed=())
        from model.change.stopped import errors_in, failed_in

        return Ended(code=code, stopped=stopped, failed=failed_in(lines), errors=errors_in(lines))

    def run(self, command: Sequence[str], *passed: int) -> tuple[int, bool]:
        """Run it: what is sent to this process reaches it, and it dies with it.

        Returns:
            its exit code, as a shell gives it, and whether it was to stop.
        """
        argv = ("setpriv", "--pdeathsig", "KILL", "--", *command)
        process = subprocess.Popen(argv, env=self.environment, pass_fds=passed)
        stopped = self._wait(process)
        return process.returncode if process.returncode >= 0 else 128 - process.returncode, stopped

    def _wait(self, process: subprocess.Popen[bytes]) -> bool:
        """Wait for Pulumi, hand on what this process alone is sent, and return whether it was to stop.

        Source: Linux, sigaction(2): ``si_code`` is above 0 where the kernel sends a signal. Ctrl-C in a terminal is
        such a one, and Pulumi, in the same process group, has it already; a second one would cut it off.
        """
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _HEARD)
        stopped = False
        try:
            while process.poll() is None:
                heard = signal.sigtimedwait(_HEARD, _LOOK_SECONDS)  # another thread may have had the one that counts
                if heard is None or heard.si_signo == signal.SIGCHLD:
                    continue
                stopped = True
                self.beside.stop()
                if heard.si_code <= 0:
                    process.send_signal(heard.si_signo)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return stopped


def say(line: str) -> None:
    """Show a line."""
    print(line, file=sys.stderr, flush=True)
