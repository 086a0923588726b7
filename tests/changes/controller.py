"""A controller that changes a service, as a process of its own: reads its inputs, and may kill itself before a step."""

from __future__ import annotations

import json
import os
import signal
import sys

from model.change import Step
from model.connection import connection_of
from provisioners.changes.apply import apply, observe
from provisioners.machine_lock import machine_lock
from provisioners.shell import connect


def main() -> None:
    """Change the service; argument: the number of the step before which it dies, or -1."""
    inputs, left = json.load(sys.stdin), [int(sys.argv[1])]

    def before(step: Step) -> None:
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        left[0] -= 1

    way = connect(connection_of(inputs["connection"]), inputs["private_key"], lambda _: None, 10)
    with way as shell, machine_lock(shell, "a test"):
        done = apply(shell, inputs, observe(shell, inputs), before=before)
    print(done and done.steps_done)


if __name__ == "__main__":
    main()
