"""The bench of many machines, on two: what is timed does what the figure says."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.many import Bench, machines


def test_each_way_does_what_is_timed(tmp_path: Path) -> None:
    with machines(2) as every:
        bench = Bench(tmp_path, every)
        bench.forget()
        with pytest.raises(FileNotFoundError):
            bench.check()
        for _ in ("the first time", "nothing to do"):
            bench.ours()
            bench.check()
        bench.ssh()
        assert all((machine.root / "root/configs/bench").is_dir() for machine in every)
        bench.forget()
        assert not any((machine.root / "root/configs").exists() for machine in every)
