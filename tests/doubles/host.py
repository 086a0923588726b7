"""A host that could lend itself to virtual machines: a real SSH server; libvirt and an emulator that say what was told.

What is measured on its disk is real; its memory and processors are this computer's.
"""

from __future__ import annotations

from pathlib import Path

from tests.doubles.sshd import Machine

VERSIONS = "Using library: libvirt 9.0.0\nUsing API: QEMU 9.0.0\nRunning hypervisor: QEMU 7.2.22\n"
_VIRSH = """#!/bin/sh
[ ! -e /etc/answers/slow ] || sleep 60
case "$3" in version) cat /etc/answers/versions ;; domstats) cat /etc/answers/guests ;; *) exit 99 ;; esac
"""
_QEMU = """#!/bin/bash
for word; do case "$word" in file:*) console=${word#file:} ;; tcg | kvm) way=$word ;; esac; done
echo "$way $$" >>/run/guests
grep -q 'a kernel' kernel || exit 1
eval "$(cat "/etc/answers/$way")"
"""
COMES_UP, HANGS, BREAKS = 'sleep {}; echo "Kernel panic" >"$console"; exec sleep 60', "exec sleep 60", "exit 1"
_RECORD = r"""#!/bin/bash
printf '%s\0' "$SSH_ORIGINAL_COMMAND" >>/etc/answers/commands
exec /bin/sh -c "$SSH_ORIGINAL_COMMAND"
"""


class Host(Machine):
    """A host with a libvirt.

    Args:
        guests: what ``virsh domstats`` prints.
        recording: whether it notes every command that comes, which takes it a moment.
        tcg: how a guest without hardware virtualisation behaves, as a line of shell; ``kvm`` with it.
    """

    def __init__(
        self,
        name: str,
        *,
        guests: str = "",
        tcg: str = COMES_UP.format(1.0),
        kvm: str = COMES_UP.format(0.1),
        recording: bool = True,
    ) -> None:
        super().__init__(name, "ForceCommand /usr/local/sbin/record" if recording else "")
        self._answers = {"versions": VERSIONS, "guests": guests, "tcg": tcg, "kvm": kvm}

    def _seed(self, seed: Path) -> None:
        super()._seed(seed)
        programs, answers, boot = seed / "usr" / "local" / "sbin", seed / "etc" / "answers", seed / "boot"
        for directory in (programs, answers, boot):
            directory.mkdir(parents=True)
        for name, text in self._answers.items():
            (answers / name).write_text(text)
        (answers / "commands").touch()
        (answers / "commands").chmod(0o666)  # whoever logs in writes there
        (boot / "vmlinuz-6.1.0-18-amd64").write_text("a kernel")
        for name, text in (("virsh", _VIRSH), ("qemu-system-x86_64", _QEMU), ("record", _RECORD)):
            (programs / name).write_text(text)
            (programs / name).chmod(0o755)

    def answers(self, name: str, text: str) -> None:
        """Let it answer otherwise from now on; ``slow`` makes its libvirt hang."""
        (self.root / "etc" / "answers" / name).write_text(text)

    def battery(self) -> None:
        """Pull its plug."""
        supply = self.root / "sys" / "class" / "power_supply" / "BAT0"
        supply.mkdir(parents=True)
        (supply / "type").write_text("Battery\n")
        (supply / "status").write_text("Discharging\n")

    def guests_running(self) -> list[str]:
        """Return the processes of tiny guests that are still there."""
        path = self.root / "run" / "guests"
        started = [line.split()[1] for line in path.read_text().splitlines()] if path.exists() else []
        return [process for process in started if (self.root / "proc" / process).exists()]

    def commands(self) -> list[str]:
        """Return every command line that came over SSH."""
        return (self.root / "etc" / "answers" / "commands").read_text().split("\0")[:-1]
