"""Under the real engine: a preview says what a machine goes through, also where another resource replaces it."""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import Any

from model.libvirt_xml import CardSpec, DomainSpec, domain_xml
from tests.doubles.pulumi import Project
from tests.doubles.sshd import Machine
from tests.hypervisor.conftest import FakeVirsh

NAME = platform.node().partition(".")[0]  # the double is this computer, as far as names go
UUID = "6b1f3b3e-52c5-5cf3-9d11-0a5d2a8ac6a1"
PROGRAM = """
import json, pathlib
import pulumi

class Resource(pulumi.CustomResource):
    def __init__(self, kind, name, props, opts=None):
        super().__init__(f"understudy:index:{kind}", name, props, opts)

wanted = json.loads((pathlib.Path(__file__).parent / "resources.json").read_text())
first = pulumi.ResourceOptions(delete_before_replace=True)
below = Resource("Password", "below", {"value": None, **wanted["below"]}, first)
after = pulumi.ResourceOptions(delete_before_replace=True, depends_on=[below])
Resource("Boot", "db1", {**wanted["boot"], "domain_id": below.id}, after)
"""


def test_a_preview_says_what_a_replaced_machine_goes_through(virsh: FakeVirsh, tmp_path: Path) -> None:
    """The engine does not ask for the difference of what it replaces because of another resource."""
    (tmp_path / "project").mkdir()
    (tmp_path / "disk").touch()
    virsh.answer(
        {
            "domstate restart-test-db1 --reason": "running (booted)",
            "domstate restart-test-db1": "running",
            "domif-setlink restart-test-db1 52:54:00:00:00:01 up": "",
            "domblklist restart-test-db1": "vda /a/disk",
        }
    )
    with Machine("db1") as machine:
        project = Project(tmp_path / "project")
        (project.directory / "__main__.py").write_text(PROGRAM)
        want(project, machine, tmp_path / "disk", 512, 20)
        assert "is shut down" not in project.run("up", "--yes", "--skip-preview")
        assert "is shut down" not in project.run("preview", "--diff")
        want(project, machine, tmp_path / "disk", 2048, 21)
        printed = project.run("preview", "--diff")
    words = f"warning: {NAME} is shut down in order and starts with 2048 MiB of memory (512 now); its disks stay"
    assert printed.count(words) == 1, printed


def want(project: Project, machine: Machine, disk: Path, memory_mib: int, length: int) -> None:
    """Ask for the machine with so much memory; another length replaces what it stands on."""
    card = CardSpec(network="n", mac="52:54:00:00:00:01")
    spec = DomainSpec(
        name="restart-test-db1", uuid=UUID, vcpus=1, memory_mib=memory_mib, system_disk=str(disk), control=card
    )
    boot: dict[str, Any] = {
        "domain": "restart-test-db1",
        "uuid": UUID,
        "domain_xml": domain_xml(spec),
        "host_uri": "qemu:///system",
        "identity": {
            "hostname": NAME,
            "domain": "",
            "hosts": [],
            "authorized_keys": [],
            "cards": {"control": {"mac": "52:54:00:00:00:01", "address": "127.0.0.1", "prefix": 8}},
        },
        "host_private_key": "private",
        "host_public_key": "public",
        "connection": machine.connection.values(),
        "private_key": machine.private_key,
        "volume_ids": [str(disk)],
        "image": "",
        "warm_placed": False,
        "warm_reason": "cold: a test",
        "running": True,
    }
    table = {"below": {"length": length}, "boot": boot}
    (project.directory / "resources.json").write_text(json.dumps(table))
