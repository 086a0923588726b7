"""A page that must come, also while a unit is stopped, which then runs again in any case."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from model.errors import UnderstudyError
from provisioners.provider.http_check import HttpCheck, answer_of
from tests.doubles.sshd import Machine

CHECK = HttpCheck()


def quiet(_: str) -> None:
    """Show nothing."""


class Page(BaseHTTPRequestHandler):
    """Answers 503 until `late` asks have been made, then a page."""

    late = 0

    def do_GET(self) -> None:
        """Answer."""
        type(self).late -= 1
        body = b"hello from the database"
        self.send_response(503 if type(self).late >= 0 else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Log nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    """The address of a page."""
    Page.late = 0
    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/orders?a=1&b=$(id)"
    server.shutdown()
    server.server_close()


def inputs(machine: Machine, url: str, **more: Any) -> dict[str, Any]:
    """Return a check's inputs."""
    reach = {"connection": machine.connection.values(), "private_key": machine.private_key, "generation": "1"}
    return {**reach, "url": url, "expect_text": "from the database", "patience_seconds": 5, **more}


def test_the_page_comes_when_it_is_ready(machine: Machine, url: str) -> None:
    Page.late = 1
    wanted = inputs(machine, url)
    assert CHECK.check(wanted) == ()
    shown: list[str] = []
    _, outputs = CHECK.create(wanted, shown.append)
    assert outputs["ok"] is True
    assert outputs["detail"] == "200, 23 bytes"
    assert any("does not come yet: status 503" in line for line in shown)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"expect_text": "nothing like it"}, r"23 bytes without 'nothing like it'.*; wanted status 200 with"),
        ({"expect_status": 404}, "status 200, still after"),
        ({"url": "http://127.0.0.1:9/"}, r"curl: \(7\)"),
    ],
)
def test_what_does_not_come_is_an_error_that_says_what_came(
    machine: Machine, url: str, more: dict[str, Any], said: str
) -> None:
    with pytest.raises(UnderstudyError, match=said):
        CHECK.create({**inputs(machine, url), "patience_seconds": 0.1, **more}, quiet)


def test_a_unit_is_stopped_meanwhile_and_runs_again_in_any_case(machine: Machine, url: str) -> None:
    unit = {"connection": machine.connection.values(), "unit": "app.service"}
    running = machine.root / "run/fake-systemd/app.service.active"
    running.parent.mkdir(exist_ok=True)
    running.touch()
    wanted = inputs(machine, url, stopping=[unit])
    assert CHECK.check(wanted) == ()
    _, outputs = CHECK.create(wanted, quiet)
    assert outputs["detail"] == "200, 23 bytes, while m1/app.service was stopped"
    calls = [call for call in machine.systemctl_calls() if "app.service" in call or call.startswith("systemd-run")]
    order = [call for call in calls if " stop " in call or "systemd-run" in call or " start " in call]
    assert "systemd-run" in order[-3], "the machine itself would start it again"
    assert "--on-active=125 -- systemctl start -- app.service" in order[-3]
    assert "stop -- app.service" in order[-2]
    assert "start -- app.service" in order[-1]
    assert running.exists()
    with pytest.raises(UnderstudyError, match="without 'x'"):
        CHECK.create({**wanted, "expect_text": "x", "patience_seconds": 0.1}, quiet)
    assert running.exists()


def test_what_a_killed_check_left_stopped_is_started_first(machine: Machine, url: str) -> None:
    unit = {"connection": machine.connection.values(), "unit": "left.service"}
    state = machine.root / "run/fake-systemd"
    state.mkdir(exist_ok=True)
    timer = f"understudy-start-{hashlib.sha256(b'left.service').hexdigest()[:8]}.timer.active"
    (state / timer).touch()
    CHECK.create(inputs(machine, url, stopping=[unit]), quiet)
    assert (state / "left.service.active").exists()
    assert not (state / timer).exists(), "the machine need not start it any more"


def test_a_unit_that_does_not_run_is_not_stopped(machine: Machine, url: str) -> None:
    unit = {"connection": machine.connection.values(), "unit": "off.service"}
    with pytest.raises(UnderstudyError, match=r"off.service: does not run"):
        CHECK.create(inputs(machine, url, stopping=[unit]), quiet)


def test_an_answer_of_curl_that_makes_no_sense_is_no_answer() -> None:
    assert answer_of(b"", "", 200, "").wrong == "no answer"
