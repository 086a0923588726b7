"""The texts of steps: any bytes arrive as they are, and a text that is pasted leaves the shell and its input alone."""

from __future__ import annotations

import os
import pty
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from provisioners.changes.marks import filled, hidden
from provisioners.changes.texts import Change, block, checking
from provisioners.commands import written

ODD = st.one_of(st.sampled_from("'\"$`\\;&|*?[]{}()<>!#~ \n\t-%END\r\0\x1b"), st.characters(codec="utf-8"))
LIMIT = 131072
"""Source: Linux, MAX_ARG_STRLEN."""


def bash(text: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(("bash", "-c", text), input=stdin, capture_output=True, check=False)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(content=b"")
@example(content=b"\n")
@example(content=b"END\nEND1\n$HOME `id` \\ '\n")
@example(content=b"\nEND")
@example(content=b"a\r\n\tb\n")
@example(content="ü–“\u00a0\u202e\n".encode())
@example(content=b"\xff\0\n")
@example(content=b"x" * 5000 + b"\n")
@given(content=st.one_of(st.text(ODD, max_size=300).map(str.encode), st.binary(max_size=300)))
def test_any_bytes_arrive_as_they_are(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "it's a $file"
    for text in written(str(path), content):
        assert bash(text).returncode == 0
    assert path.read_bytes() == content


@pytest.mark.parametrize("content", [b"'" * 99 + b"\n", b"line\n", bytes(range(256))], ids=["quotes", "text", "bytes"])
def test_large_contents_come_in_pieces_that_are_an_argument_each(tmp_path: Path, content: bytes) -> None:
    whole = content * ((1 << 20) // len(content))
    texts = written(str(tmp_path / "large"), whole)
    assert 10 < len(texts) < 100
    for text in texts:
        line = subprocess.list2cmdline([text])
        assert len(line) < LIMIT
        assert bash(text).returncode == 0
    assert (tmp_path / "large").read_bytes() == whole


PASTED = "\n".join(f"line {count}: ü $HOME !history `id` \\ ' \" {'x' * 60}" for count in range(300)) + "\n"


def test_what_is_pasted_into_a_terminal_arrives_as_it_is(tmp_path: Path) -> None:
    """An interactive bash, with history expansion and line editing, as a person has it."""
    path = tmp_path / "pasted"
    (text,) = written(str(path), PASTED.encode())
    done = tmp_path / "done"
    typed = f"{block((text, f'mv {path} {done}'), 'it is there')}\nexit\n".encode()
    process, terminal = pty.fork()
    if process == 0:
        os.execvpe("bash", ["bash", "--norc", "--noprofile", "-i"], {**os.environ, "TERM": "dumb", "HISTFILE": ""})
    shown = b""
    while typed:
        sent = os.write(terminal, typed[:512])
        typed = typed[sent:]
        shown += os.read(terminal, 65536)
    try:
        while data := os.read(terminal, 65536):
            shown += data
    except OSError:
        pass  # Linux: reading a terminal whose last process ended
    os.waitpid(process, 0)
    assert done.read_text() == PASTED, shown[-2000:].decode("utf-8", "replace")
    assert b"it is there" in shown


def test_a_failing_block_leaves_the_shell_and_what_follows_alone() -> None:
    text = block(("cat", "false", "echo never"), "good")
    done = bash(f"{text}\necho after $?\n{block(('true',), 'good')}\n", b"not for it")
    assert done.stdout == b"after 1\ngood\n"


def test_a_check_is_tried_until_it_prints_its_line(tmp_path: Path) -> None:
    count = tmp_path / "count"
    command = ["sh", "-c", 'echo x >>"$0"; wc -l <"$0"', str(count)]
    done = bash(block(checking(command, "3"), "good"))
    assert done.stdout == b"3\ngood\n"


@given(
    content=st.text(ODD, max_size=60),
    secret=st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Zl", "Zp")), min_size=3, max_size=20),
)
def test_a_known_secret_is_never_shown(content: str, secret: str) -> None:
    wanted = f"{content}\nkey = @@a b@@\n"
    secrets = {"a b": secret}
    real = filled(wanted, secrets) + f"# {secret}\n"
    shown = hidden(real, wanted, secrets)
    assert secret not in shown.replace("@@a b@@", "")


def test_names_of_a_change() -> None:
    change = Change(service="web", identifier="0123456789ab")
    assert change.beside("/a") == "/.understudy-web/a"
    assert change.back_out == 'bash "$(ls -d /root/configs/web/*Z-0123456789ab | tail -n 1)/back-out.sh"'
