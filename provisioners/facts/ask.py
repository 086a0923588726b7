"""Runs the questions' commands on a machine over SSH, as the user that each needs."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from model.facts import HostFacts, Unread
from model.topology import Access
from provisioners.commands import privileged
from provisioners.facts.fact import LOGIN, ROOT, NoAnswerError, Question
from provisioners.facts.gather import gather
from provisioners.outcome import Result

SECONDS = 60.0
"""How long one command may take."""

# The language of messages is known, and root's programs are found by a user who is not root.
_ENVIRONMENT = ("env", "LC_ALL=C", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")


def as_user(question: Question, access: Access) -> tuple[str, ...]:
    """Return the command as the question's user runs it; nobody is asked for a password.

    >>> as_user(Question(name="x", argv=("id",), user="postgres"), Access(host="db1", user="admin", sudo=True))
    ('sudo', '-n', '-u', 'postgres', '--', 'id')
    """
    if question.user in (LOGIN, access.user):
        return question.argv
    if access.user == ROOT:
        return ("runuser", "-u", question.user, "--", *question.argv)
    if access.sudo and question.user == ROOT:
        return privileged(question.argv, sudo=True)
    if access.sudo:
        return ("sudo", "-n", "-u", question.user, "--", *question.argv)
    return question.argv


def complete(argv: tuple[str, ...]) -> tuple[str, ...]:
    """Return the command with the environment that makes its output the same everywhere."""
    return (*_ENVIRONMENT, *argv)


_TELLING = re.compile(r"error|fatal|denied|failed|required|not found|no such", re.IGNORECASE)


class Asking:
    """One machine that is asked. Where sudo is refused, root's questions are put again without it."""

    def __init__(self, access: Access, run: Callable[[tuple[str, ...]], Result]) -> None:
        self._access, self._run = access, run
        self.refused = ""

    def answer(self, question: Question) -> str:
        """Return what the question's command prints.

        Raises:
            NoAnswerError: it failed.
        """
        argv = as_user(question, self._access)
        result = self._run(complete(argv))
        if argv[0] == "sudo" and result.code != 0 and _reason(result).startswith("sudo:"):
            self.refused = self.refused or _reason(result)
            if question.user == ROOT:
                result = self._run(complete(question.argv))
        if result.code not in question.codes:
            raise NoAnswerError(_reason(result) or f"`{question.argv[0]}` ended with {result.code}")
        return result.stdout.decode("utf-8", "replace")


def _reason(result: Result) -> str:
    lines = [line.strip() for line in result.stderr.decode("utf-8", "replace").splitlines() if line.strip()]
    said = [line for line in lines if not line.startswith("could not change directory")]
    telling = [line for line in said if _TELLING.search(line)]
    return (telling[0] if telling else said[-1])[:300] if said else ""


def read_host(access: Access, run: Callable[[tuple[str, ...]], Result], paths: tuple[str, ...] = ()) -> HostFacts:
    """Return what a machine tells about itself.

    Args:
        access: how it is reached.
        run: runs a command there, whatever its exit code.
        paths: which files are looked for.
    """
    asking = Asking(access, run)
    facts = gather(access, asking.answer, paths)
    if not asking.refused:
        return facts
    return replace(facts, unread=(Unread(fact="root's view", reason=asking.refused), *facts.unread))
