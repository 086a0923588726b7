"""Sets the timer of a drill on a machine, with the project's own code and the machine's own systemd."""

from __future__ import annotations

from pathlib import PurePosixPath

from provisioners.shell import Shell
from tests.vm.lab import ROOT

CODE = ("cli/__init__.py", "cli/drill_timer.py", "model/__init__.py", "model/errors.py", "model/timer.py")
THERE = PurePosixPath("/srv/understudy")
PROJECT, NOTED = '/srv/a "$odd" 5% place', "/srv/drilled"
UNITS = ("understudy-drill-stage.service", "understudy-drill-stage.timer")
DROP_IN = f"/etc/systemd/system/{UNITS[1]}.d"
RUN = f"""#!/bin/sh
printf '%s\\n' "$PWD" "$0 $*" "$PULUMI_BACKEND_URL" >{NOTED}.new
mv {NOTED}.new {NOTED}
"""
"""Stands for the project's ./run."""
AT_ONCE = b"[Timer]\nRandomizedDelaySec=0\nAccuracySec=1s\n"
"""Takes out the wait of up to ten minutes; nothing else of the unit is changed."""
DO = """
import sys
from pathlib import Path
from cli import drill_timer
if sys.argv[1] == "install":
    drill_timer.install(Path(sys.argv[2]), "stage", "*-*-* *:*:*")
else:
    drill_timer.remove("stage")
"""


def prepare(shell: Shell) -> None:
    """Bring the code that sets the timer, and a project that only notes how it was asked."""
    shell.run(("mkdir", "-p", "--", *{str((THERE / name).parent) for name in CODE}, PROJECT, DROP_IN))
    for name in CODE:
        shell.put((ROOT / name).read_bytes(), str(THERE / name))
    shell.put(RUN.encode(), f"{PROJECT}/run", mode="0755")
    shell.put(AT_ONCE, f"{DROP_IN}/at-once.conf")


def do(shell: Shell, verb: str) -> str:
    """Set the timer, or remove it; return what was printed."""
    given = ("HOME=/root", "PULUMI_BACKEND_URL=file:///srv/my state")
    return shell.run(("env", f"--chdir={THERE}", *given, "python3", "-c", DO, verb, PROJECT)).text
