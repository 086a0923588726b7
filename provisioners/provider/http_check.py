"""A page that must come when a machine asks for it, also while certain units are stopped."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from model.connection import connection_of
from model.errors import UnderstudyError
from provisioners.outcome import Deadline, Say, pause
from provisioners.provider.inputs import COMMON, REACH, TEXT, UNIT, WORDS, Rule, failures, number, optional, text
from provisioners.provider.kinds import Failure, Real, Values
from provisioners.provider.machines import changing, reading
from provisioners.shell import Shell
from provisioners.units import status

_USUAL_PATIENCE_SECONDS = 60
_REQUEST_SECONDS = 20
_LARGEST_PAGE = 16 << 20
_URL = Rule(
    good=lambda value: text(value) and bool(re.match(r"^https?://[^\s/]+(/\S*)?$", value)),
    allowed="an address that begins with http:// or https://",
)
_STOPPING = Rule(
    good=lambda value: (
        isinstance(value, list)
        and all(
            isinstance(each, dict)
            and set(each) == {"connection", "unit"}
            and COMMON["connection"].good(each["connection"])
            and UNIT.good(each["unit"])
            for each in value
        )
    ),
    allowed="a list of {connection, unit}",
)
_RULES: Mapping[str, Rule] = {
    **COMMON,
    "url": _URL,
    "expect_status": optional(number(100, 599)),
    "expect_text": optional(TEXT),
    "stopping": optional(_STOPPING),
    "recheck_on": optional(WORDS),
    "patience_seconds": optional(number(1, 3600)),
}
_one_at_a_time = threading.Lock()
"""Two checks that stop units at once could together stop all that serve the page."""


class HttpCheck:
    """Kind ``understudy:index:HttpCheck``. It asks anew when one of its inputs changes, ``recheck_on`` among them."""

    token = "understudy:index:HttpCheck"
    secret_outputs: frozenset[str] = frozenset()
    replace_on: frozenset[str] = frozenset()
    ignored = REACH | {"patience_seconds"}

    def check(self, inputs: Mapping[str, Any]) -> tuple[Failure, ...]:
        """Return what is wrong with the inputs."""
        return failures(inputs, _RULES)

    def create(self, inputs: Values, say: Say) -> tuple[str, Values]:
        """Ask for the page until it comes.

        Raises:
            UnderstudyError: it did not come in time; what was stopped runs again in any case.
        """
        seconds = inputs.get("patience_seconds") or _USUAL_PATIENCE_SECONDS
        with ExitStack() as stack:
            if inputs.get("stopping"):
                stack.enter_context(_one_at_a_time)
            shell = stack.enter_context(reading(inputs, "", say))
            for each in inputs.get("stopping") or ():
                stack.enter_context(_stopped(each, inputs.get("private_key", ""), seconds + 120, say))
            answer = _ask_patiently(shell, inputs, seconds)
        down = ", ".join(f"{each['connection']['name']}/{each['unit']}" for each in inputs.get("stopping") or ())
        detail = f"{answer.status}, {answer.size} bytes{f', while {down} was stopped' if down else ''}"
        return f"{inputs['connection']['name']}:{inputs['url']}", {
            "ok": True,
            "detail": detail,
            "seconds": answer.seconds,
        }

    def read(self, identifier: str, inputs: Values, outputs: Values, say: Say) -> Real | None:
        """Return what was found when it was asked last."""
        if not inputs:
            raise UnderstudyError(where=identifier, found="a check is not imported", todo="Let `up` make it.")
        return Real(inputs=inputs, outputs=outputs)

    def update(self, identifier: str, old: Values, inputs: Values, outputs: Values, say: Say) -> Values:
        """Ask anew."""
        return self.create(inputs, say)[1]

    def delete(self, identifier: str, inputs: Values, outputs: Values, say: Say) -> None:
        """Nothing to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of one request.

    Args:
        status: HTTP status; 0 where nothing came.
        seconds: how long it took.
        size: length of the body in bytes.
        wrong: what is not as expected; empty where all is.
    """

    status: int
    seconds: float
    size: int
    wrong: str


def answer_of(output: bytes, said: str, expect_status: int, expect_text: str) -> Answer:
    """Return what curl's output means: the body, then a line with status and seconds.

    >>> answer_of(b"hello\\n200 0.25", "", 200, "hello").wrong
    ''
    >>> answer_of(b"\\n000 0.1", "curl: (7) refused", 200, "").wrong
    'curl: (7) refused'
    """
    body, _, last = output.rpartition(b"\n")
    words = last.decode("ascii", "replace").split()
    status, seconds = (int(words[0]), float(words[1])) if len(words) == 2 else (0, 0.0)
    if status == 0:
        wrong = said or "no answer"
    elif status != expect_status:
        wrong = f"status {status}"
    else:
        wrong = "" if expect_text.encode() in body else f"{len(body)} bytes without {expect_text!r}"
    return Answer(status=status, seconds=seconds, size=len(body), wrong=wrong)


def _ask(shell: Shell, url: str, expect_status: int, expect_text: str) -> Answer:
    form = "\\n%{http_code} %{time_total}"
    limits = ("--max-time", str(_REQUEST_SECONDS), "--max-filesize", str(_LARGEST_PAGE))
    argv = ("curl", "--silent", "--show-error", "--globoff", *limits, "--write-out", form, "--", url)
    done = shell.run(argv, check=False, timeout_seconds=_REQUEST_SECONDS + 30)
    return answer_of(done.stdout, done.stderr.decode("utf-8", "replace").strip(), expect_status, expect_text)


def _ask_patiently(shell: Shell, inputs: Values, seconds: float) -> Answer:
    patience, url = Deadline(seconds), inputs["url"]
    wanted, content = inputs.get("expect_status") or 200, inputs.get("expect_text") or ""
    while True:
        answer = _ask(shell, url, wanted, content)
        if not answer.wrong:
            return answer
        if patience.left <= 0:
            raise UnderstudyError(
                where=f"{url}, asked from {shell.connection.name}",
                found=f"{answer.wrong}, still after {patience.elapsed:.0f} s",
                wanted=f"status {wanted}" + (f" with {content!r} in it" if content else ""),
            )
        shell.say(f"{url} does not come yet: {answer.wrong} ({patience.elapsed:.0f} s)")
        pause(min(1.0, max(patience.left, 0.05)), shell.connection.name)


@contextmanager
def _stopped(target: Values, private_key: str, seconds: float, say: Say) -> Iterator[None]:
    """Stop a unit meanwhile. The machine itself starts it again after ``seconds``, should we not live to do so."""
    inputs, unit = {"connection": target["connection"], "private_key": private_key}, target["unit"]
    name = connection_of(target["connection"]).name
    timer = f"understudy-start-{hashlib.sha256(unit.encode()).hexdigest()[:8]}"
    with changing(inputs, f"a check with {unit} stopped", say) as shell:
        left_over = shell.run(("systemctl", "is-active", "--quiet", f"{timer}.timer"), check=False).code == 0
        if left_over:
            shell.run(("systemctl", "start", "--", unit))
            shell.run(("systemctl", "stop", "--", f"{timer}.timer"))
        if status(shell, unit).active != "active":
            raise UnderstudyError(
                where=f"{name}: {unit}", found="does not run", wanted="active, so that it can be stopped"
            )
        start = ("systemctl", "start", "--", unit)
        shell.run(("systemd-run", "--quiet", "--collect", f"--unit={timer}", f"--on-active={seconds:g}", "--", *start))
        try:
            say(f"stopping {unit} on {name}")
            shell.run(("systemctl", "stop", "--", unit))
            yield
        finally:
            shell.run(start)
            shell.run(("systemctl", "stop", "--", f"{timer}.timer"), check=False)
