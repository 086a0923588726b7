"""A cloud's plugin whose engine was killed is ended; one whose engine works, or of another project, is left alone."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path

from cli.orphans import end_orphans
from tests.doubles.sshd import free_port


def started(directory: Path, name: str, port: int) -> subprocess.Popen[bytes]:
    """Start a program of that name that is given an engine's address; to Python it is the name of a script."""
    script = directory / f"127.0.0.1:{port}"
    script.write_text("import time\ntime.sleep(600)\n")
    return subprocess.Popen([f"/opt/{name}", script.name], executable=sys.executable, cwd=directory)


def test_only_a_plugin_without_an_engine_is_ended(tmp_path: Path) -> None:
    said: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as engine:
        stays = started(tmp_path, "pulumi-resource-aws", engine.getsockname()[1])
        other = started(tmp_path, "pulumi-resource-other", free_port())
        left = started(tmp_path, "pulumi-resource-aws", free_port())
        (tmp_path / "another").mkdir()
        others = started(tmp_path / "another", "pulumi-resource-aws", free_port())
        try:
            while b"/opt/pulumi-resource-aws" not in Path(f"/proc/{left.pid}/cmdline").read_bytes():
                time.sleep(0.01)
            end_orphans(tmp_path, said.append)
            assert left.wait(10) == -9
            assert (stays.poll(), other.poll(), others.poll()) == (None, None, None)
        finally:
            for each in (stays, other, left, others):
                each.kill()
                each.wait()
    line = f"ended pulumi-resource-aws, which a run that was killed had left (process {left.pid})"
    assert [each for each in said if str(left.pid) in each] == [line]
