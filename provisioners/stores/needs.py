"""What a store needs on its machine: the project's own image has it, an image of the user's own may lack it."""

from __future__ import annotations

from collections.abc import Mapping

from model.errors import UnderstudyError
from provisioners.commands import scripted
from provisioners.shell import Shell


def refuse_lacking(shell: Shell, store: str, needs: Mapping[str, str]) -> None:
    """Raise where a machine lacks a program.

    Args:
        shell: the machine.
        store: the store's name.
        needs: programs, by name or path, and the Debian packages that have them.

    Raises:
        UnderstudyError: names the packages.
    """
    lacking = shell.run(scripted("lacking", *needs)).text.splitlines() if needs else []
    if lacking:
        packages = sorted({needs[program] for program in lacking})
        raise UnderstudyError(
            where=f"{shell.connection.name}: store {store}",
            found=f"the machine has no {', '.join(lacking)}",
            wanted=f"the Debian package{'s' if len(packages) > 1 else ''} {', '.join(packages)} in its image",
            todo="Build them into your image, then run `./run understudy place --image` for the stack, and `up`.",
        )
