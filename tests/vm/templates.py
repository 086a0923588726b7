"""Templates of sizes that nobody else uses: a test may spoil them."""

from __future__ import annotations

import shutil

from model.kernel import kernel_command_line
from provisioners.hypervisor.host import TEMPLATES, processor
from provisioners.hypervisor.template import TemplateSpec, fingerprint
from provisioners.hypervisor.virsh import Virsh
from tests.vm.lab import image


def odd(memory_mib: int) -> TemplateSpec:
    """Return such a size."""
    return TemplateSpec(
        image=image(),
        vcpus=1,
        memory_mib=memory_mib,
        accelerator="tcg",
        data_disk=False,
        system_disk_mib=8192,
        cmdline=kernel_command_line("tcg"),
    )


def name_of(spec: TemplateSpec) -> str:
    """Return the fingerprint of its template here."""
    return fingerprint(spec, Virsh().version(), processor())


def forget(spec: TemplateSpec) -> None:
    """Remove its templates."""
    for path in TEMPLATES.glob(f"{name_of(spec)}-*"):
        shutil.rmtree(path)
