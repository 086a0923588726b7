"""The stack of a hundred machines that exist nowhere, with fewer: what is measured must work."""

from __future__ import annotations

from pathlib import Path

from bench.hundred import Hundred
from bench.nothing.provider import OUTPUTS
from provisioners.provider.registry import kinds
from provisioners.provider.retired import RETIRED

NEEDS_NO_MACHINE = ("Gate", "Password", "Report", "SshKeypair", "WireguardKeypair")
NOT_IN_IT = (
    "Boot",
    "DataDisk",
    "Fence",
    "FilesStore",
    "FirstContact",
    "MariadbPrimary",
    "Template",
    "Tunnel",
    "TunnelCheck",
    "WarmStart",
)


def test_every_kind_on_a_machine_is_answered() -> None:
    other = {f"understudy:index:{name}" for name in (*NEEDS_NO_MACHINE, *NOT_IN_IT)} | {kind.token for kind in RETIRED}
    assert set(kinds()) - other == set(OUTPUTS)


def test_both_previews_find_nothing_to_do(tmp_path: Path) -> None:
    stacks = Hundred(tmp_path, machines=7)
    assert stacks.resources > 50
    stacks.preview()
    stacks.preview_alone()
