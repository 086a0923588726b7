"""What our image's kernel is told when it boots."""

from __future__ import annotations


def kernel_command_line(accelerator: str) -> str:
    """Return the kernel's command line for our image; nothing in it is secret or differs between machines.

    Args:
        accelerator: ``tcg`` or ``kvm``. An emulated processor does not speculate, so that what guards against that is
            only a cost there.

    >>> "mitigations=off" in kernel_command_line("kvm").split()
    False
    """
    common = "quiet loglevel=3 net.ifnames=0 systemd.show_status=0 cryptomgr.notests"
    return f"{common} mitigations=off nokaslr tsc=reliable" if accelerator == "tcg" else common
