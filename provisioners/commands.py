"""Commands for machines, as argument lists. The only place that turns them into text for a shell."""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
import secrets
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from model.connection import Connection
from model.postgresql import quoted

Argv = tuple[str, ...]

_UNQUOTABLE = frozenset("\n\r\0")
_GUEST = Path(__file__).parent / "guest"
_PIECE = 80_000
_LONGEST_LINE = 2000
"""Source: termios(3): a terminal cuts a typed line after 4095 bytes."""


def command_line(argv: Sequence[str]) -> str:
    r"""Return the one line that makes a POSIX shell run exactly these arguments.

    Raises:
        ValueError: there is no command, or an argument has a zero byte, which no process can be given.

    >>> command_line(("printf", "%s", "it's; $HOME"))
    'printf %s \'it\'"\'"\'s; $HOME\''
    """
    if not argv or any("\0" in argument for argument in argv):
        raise ValueError("a command has at least one argument, and no argument has a zero byte")
    return shlex.join(argv)


def jump_line(connection: Connection) -> str:
    """Return the line of a file of known hosts with the key of the last jump host; empty where none is known.

    >>> jump_line(Connection(name="a", address="198.18.0.10", jump="gate,me@rack:2222", jump_key="ssh-ed25519 AAAA"))
    'understudy-jump.me.rack.2222 ssh-ed25519 AAAA\\n'
    """
    return f"{_jump_alias(connection)} {connection.jump_key}\n" if connection.jump_key else ""


def _jump_alias(connection: Connection) -> str:
    return f"understudy-jump.{re.sub('[@:]', '.', connection.jump.rpartition(',')[2])}"


def jump_option(connection: Connection, known_hosts: str) -> str:
    """Return ssh's option for going through other hosts; empty where the way is direct.

    Args:
        connection: how the machine is reached.
        known_hosts: the file with the `jump_line`, where that key is known.

    >>> jump_option(Connection(name="a", address="198.18.0.10", jump="gate"), "/run/x")
    'ProxyJump=gate'
    >>> gate = Connection(name="a", address="198.18.0.10", jump="gate,me@rack:2222", jump_key="k")
    >>> print(jump_option(gate, "/x y")[-73:])
    -J gate -p 2222 -l me -o 'UserKnownHostsFile="/x y"' -W '[%h]:%p' -- rack
    """
    if not connection.jump or not connection.jump_key:
        return f"ProxyJump={connection.jump}" if connection.jump else ""
    before, _, last = connection.jump.rpartition(",")
    user, _, host = last.rpartition("@")
    host, _, port = host.partition(":")
    checks = ("StrictHostKeyChecking=yes", f"HostKeyAlias={_jump_alias(connection)}", "GlobalKnownHostsFile=/dev/null")
    argv: Argv = ("ssh", *(word for check in (*checks, "UpdateHostKeys=no") for word in ("-o", check)))
    argv += (*(("-J", before) if before else ()), "-p", port or "22", *(("-l", user) if user else ()))
    file = known_hosts.replace("%", "%%")  # ssh puts in what the machine is called where it finds one alone
    line = command_line((*argv, "-o", f'UserKnownHostsFile="{file}"', "-W", "[%h]:%p", "--", host))
    return f"ProxyCommand={line}"


def privileged(argv: Sequence[str], *, sudo: bool) -> Argv:
    """Return the command as root runs it; never asks for a password.

    >>> privileged(("id",), sudo=True)
    ('sudo', '-n', '--', 'id')
    """
    return ("sudo", "-n", "--", *argv) if sudo else tuple(argv)


def limited(argv: Sequence[str], *, seconds: float) -> Argv:
    """Return the command with an end that the machine itself keeps, so that a dropped connection leaves none behind.

    >>> limited(("id",), seconds=90)
    ('timeout', '--kill-after=10', '90', 'id')
    """
    return ("timeout", "--kill-after=10", f"{seconds:g}", *argv)


@cache
def guest_script(script: str) -> str:
    """Return the text of one of our fixed scripts in ``provisioners/guest``."""
    return (_GUEST / f"{script}.sh").read_text(encoding="utf-8")


def scripted(script: str, *arguments: str, sharing: str = "") -> Argv:
    """Return the command that runs one of our fixed scripts in ``provisioners/guest`` with these arguments.

    Values are arguments or standard input, never part of the script.

    Args:
        script: its name.
        arguments: what it is given.
        sharing: another of them with functions that it uses; empty for none.
    """
    text = guest_script(sharing) + guest_script(script) if sharing else guest_script(script)
    return ("bash", "-c", text, f"understudy-{script}", *arguments)


def typed_with(argv: Sequence[str], content: str, then: str = "") -> str:
    r"""Return a command with its standard input as a person types both, word for word.

    Args:
        argv: the command.
        content: whole lines that a person can read; the last line's end may be missing, and is added.
        then: a word that is printed when it went well; empty for none.

    Raises:
        ValueError: the content has characters that do not survive being typed.

    >>> print(typed_with(("virsh", "define", "/dev/stdin"), "<a/>", "done"))
    virsh define /dev/stdin <<'END' && echo done
    <a/>
    END
    <BLANKLINE>
    """
    lines = content.removesuffix("\n").split("\n")
    if not all(line.isprintable() for line in lines):
        raise ValueError("a text with characters that cannot be typed")
    end = "END"
    while end in lines:
        end += "_"
    success = f" && {command_line(('echo', then))}" if then else ""
    return "\n".join([f"{command_line(argv)} <<'{end}'{success}", *lines, end, ""])


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """An argument that has the value of a shell's variable in it.

    Args:
        name: of the variable.
        before: what stands before the value in the same argument.
        after: what stands after it, which may be another one.
    """

    name: str
    before: str = ""
    after: str | Variable = ""

    def __str__(self) -> str:
        """Return the word of a shell's text."""
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", self.name):
            raise ValueError(f"no name of a shell's variable: {self.name!r}")
        return "".join(
            (word(self.before) if self.before else "", f'"${self.name}"', _word_of(self.after) if self.after else "")
        )


def _word_of(argument: str | Variable) -> str:
    return str(argument) if isinstance(argument, Variable) else word(argument)


def line_with(argv: Sequence[str | Variable], into: str = "") -> str:
    r"""Return the line that makes a shell run a command with values of variables among its arguments.

    Args:
        argv: the command.
        into: name of the variable that what it prints goes into; empty for none.

    >>> line_with(("aws", "--vpc-id", Variable(name="vpc"), "a b"), into="subnet")
    'subnet=$(aws --vpc-id "$vpc" \'a b\')'
    >>> line_with(("aws", Variable(name="vpc", before="Name=x y,Values=")))
    'aws \'Name=x y,Values=\'"$vpc"'
    >>> line_with(("gcloud", Variable(name="a", after=Variable(name="b", before="/32,", after="/32"))))
    'gcloud "$a"/32,"$b"/32'
    """
    line = " ".join(map(_word_of, argv))
    return f"{into}=$({line})" if into else line


def psql_word(text: str) -> str:
    r"""Return an argument of one of psql's own commands, such as ``\set``, that means exactly this text.

    Raises:
        ValueError: it has a line break or a zero byte, which no argument can have.

    Source: PostgreSQL 15, psql(1), "Meta-Commands": within single quotes, backslashes escape as in C.

    >>> psql_word("it's a \\d")
    "'it''s a \\\\d'"
    """
    return quoted(text)


def sql_name(text: str) -> str:
    """Return a name in SQL as MariaDB and MySQL quote it.

    Raises:
        ValueError: it has a line break or a zero byte.

    >>> sql_name("a`b")
    '`a``b`'
    """
    if _UNQUOTABLE & set(text):
        raise ValueError("a name has no line break and no zero byte")
    return "`{}`".format(text.replace("`", "``"))


def sql_text(text: str) -> str:
    r"""Return a text in SQL as MariaDB and MySQL quote it.

    Raises:
        ValueError: it has a line break or a zero byte.

    >>> sql_text("it's a \\")
    "'it''s a \\\\'"
    """
    return quoted(text)


def put(path: str, *, mode: str, owner: str, group: str, digest: str, unique: str = "") -> Argv:
    """Return the command that writes its standard input to a file, at once or not at all.

    Args:
        path: where; its directory is made where it is missing.
        mode: permissions in octal.
        owner: user who owns it.
        group: group that owns it.
        digest: SHA-256 that the content must have, in hexadecimal.
        unique: names this one call; empty for a random one.
    """
    return scripted("put", path, mode, owner, group, digest, _mark(path), unique or secrets.token_hex(4))


def _mark(path: str) -> str:
    name = path.rpartition("/")[2]
    return f".understudy.{hashlib.sha256(name.encode('utf-8', 'surrogateescape')).hexdigest()[:8]}"


def word(text: str) -> str:
    """Return one word of a shell's text that means exactly this.

    Raises:
        ValueError: it has a zero byte.

    >>> word("a b")
    "'a b'"
    """
    return command_line((text,))


def words(texts: Iterable[str]) -> str:
    """Return several words of a shell's text; an empty text for none.

    >>> words(["a b", "c"])
    "'a b' c"
    """
    return " ".join(word(text) for text in texts)


def written(path: str, content: bytes, whole: str = "") -> tuple[str, ...]:
    """Return texts for a shell that, one after the other, write exactly these bytes to a file.

    What a terminal passes on unharmed is shown as it is, in a quoted here-document; everything else in base64. Each
    text is short enough to be an argument, quoted once more.

    Args:
        path: where.
        content: what.
        whole: a command that writes its standard input there, and does it where one text is enough; empty for none.

    Source: Linux, include/uapi/linux/binfmts.h, MAX_ARG_STRLEN: 128 KiB for one argument.

    >>> print(written("/etc/a b", b"x $HOME\\n")[0])
    cat >'/etc/a b' <<'END'
    x $HOME
    END
    >>> print(written("a", b"no end of line")[0])
    base64 -d >a <<'END'
    bm8gZW5kIG9mIGxpbmU=
    END
    >>> print(written("a", b"no end of line", "install -T /dev/stdin a")[0])
    base64 -d <<'END' | install -T /dev/stdin a
    bm8gZW5kIG9mIGxpbmU=
    END
    """
    pieces = _shown_pieces(content)
    program = "cat" if pieces is not None else "base64 -d"
    if pieces is None:
        step = _PIECE // 4 * 3
        pieces = [
            base64.encodebytes(content[at : at + step]).decode("ascii") for at in range(0, max(1, len(content)), step)
        ]
    ends = (f"END{count or ''}" for count in itertools.count())
    end = next(end for end in ends if f"\n{end}\n".encode() not in b"\n" + content)
    if whole and len(pieces) == 1:
        here = f"{whole} <<'{end}'" if program == "cat" else f"{program} <<'{end}' | {whole}"
        return (f"{here}\n{pieces[0]}{end}",)
    return tuple(
        f"{program} {'>>' if count else '>'}{word(path)} <<'{end}'\n{piece}{end}" for count, piece in enumerate(pieces)
    )


def _shown_pieces(content: bytes) -> list[str] | None:
    """Return a content in pieces of whole lines, or None where a terminal would not pass it on unharmed."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return None
    lines = text.split("\n")
    if lines.pop() or any(not line.isprintable() or len(line.encode()) > _LONGEST_LINE for line in lines):
        return None
    pieces, room = [""], _PIECE
    for line in lines:
        size = len(word(line).encode()) + 1
        if room < size:
            pieces.append("")
            room = _PIECE
        pieces[-1] += f"{line}\n"
        room -= size
    return pieces
