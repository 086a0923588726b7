"""What our image's kernel is told when it boots."""

from __future__ import annotations


def kernel_command_line(accelerator: str) -> str:
    """Return the kernel's command line for our image; nothing in it is secret or differs between machines.

    Args:
        accelerator: ``tcg`` or ``kvm``. An emulated processor does not speculate, so that what guards against that is
            only a cost there. Its time stamp counter is never used: it runs with the host's, whose rate a guest
            misjudges while the host is busy (a clock that was 23 s ahead after half a minute was seen). Programs get
            the same addresses each time: qemu keeps what it translated by address, and would translate each start of
            one anew (to start a hundred took 5 s of a processor, and takes 1.5).

    >>> "mitigations=off" in kernel_command_line("kvm").split()
    False
    """
    common = "quiet loglevel=3 net.ifnames=0 systemd.show_status=0 cryptomgr.notests console=ttyS0"
    return f"{common} mitigations=off nokaslr norandmaps tsc=unstable" if accelerator == "tcg" else common
