"""What is quoted arrives as it was."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provisioners.commands import command_line, scripted

ARGUMENT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)


@settings(max_examples=60)
@given(st.lists(ARGUMENT, max_size=4))
def test_a_shell_passes_on_exactly_these_arguments(arguments: list[str]) -> None:
    line = command_line(("printf", "%s\\0", *arguments))
    printed = subprocess.run(("sh", "-c", line), capture_output=True, check=True).stdout
    assert printed == b"".join(argument.encode() + b"\0" for argument in arguments) or not arguments


@pytest.mark.parametrize("argv", [(), ("printf", "a\0b")])
def test_what_no_process_can_be_given_is_refused(argv: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="zero byte"):
        command_line(argv)


def test_values_are_arguments_of_a_fixed_script() -> None:
    argv = scripted("lock", "/etc/$(reboot)", "9")
    assert argv[:2] == ("bash", "-c")
    assert argv[3:] == ("understudy-lock", "/etc/$(reboot)", "9")
    assert "reboot" not in argv[2]
