"""The lines to type where a host has no hypervisor; pure."""

from __future__ import annotations

from collections.abc import Iterable

from model.topology import Access
from provisioners.commands import Argv, command_line

_PACKAGES = {"x86_64": "qemu-system-x86", "aarch64": "qemu-system-arm"}
# Source: the names of the packages in Debian 12, Fedora 43, openSUSE 16, Arch and Alpine.
_INSTALL: dict[tuple[str, ...], Argv] = {
    ("debian", "ubuntu", "linuxmint", "raspbian", "pop", "kali"): ("apt-get", "install", "--yes"),
    ("fedora", "rhel", "centos", "rocky", "almalinux", "ol"): ("dnf", "install", "--assumeyes"),
    ("opensuse-leap", "opensuse-tumbleweed", "sles"): ("zypper", "--non-interactive", "install"),
    ("arch", "manjaro"): ("pacman", "--sync", "--noconfirm"),
}


def install_line(release: str, architecture: str, access: Access, *, local: bool) -> str:
    """Return the line that installs libvirt and QEMU on a host.

    Args:
        release: the distribution and its version, such as ``debian 12``.
        architecture: as ``uname -m`` says it.
        access: how the host is reached.
        local: whether it is this computer.

    >>> install_line("debian 12", "x86_64", Access(host="desk", user="admin", sudo=True), local=False)
    'ssh -t admin@desk sudo apt-get install --yes libvirt-daemon-system libvirt-clients qemu-system-x86 qemu-utils'
    >>> install_line("beos 5", "x86_64", Access(host="desk"), local=True)
    'the command of beos 5 that installs libvirt with its QEMU driver, virsh and qemu-img'
    """
    name = release.partition(" ")[0]
    install = next((argv for names, argv in _INSTALL.items() if name in names), None)
    if install is None:
        system = release or "its distribution"
        return f"the command of {system} that installs libvirt with its QEMU driver, virsh and qemu-img"
    if install[0] == "apt-get":
        packages: Argv = ("libvirt-daemon-system", "libvirt-clients", _PACKAGES[architecture], "qemu-utils")
    elif install[0] == "dnf":
        packages = ("libvirt-daemon-kvm", "libvirt-client", "qemu-kvm", "qemu-img")
    elif install[0] == "zypper":
        packages = ("libvirt-daemon-qemu", "libvirt-client", "qemu-tools")
    else:
        packages = ("libvirt", "qemu-base", "qemu-img")
    return _typed((*install, *packages), access, local=local)


_DEBIAN = {
    "virsh": "libvirt-clients",
    "virt-ssh-helper": "libvirt-daemon",
    "qemu-img": "qemu-utils",
    "nft": "nftables",
    "ip": "iproute2",
    "ssh-keygen": "openssh-client",
}


def programs_line(release: str, programs: Iterable[str], access: Access) -> str:
    """Return the line that installs programs on another host.

    >>> programs_line("debian 12", ["nft", "genisoimage"], Access(host="desk"))
    'ssh -t root@desk apt-get install --yes nftables genisoimage'
    """
    install = next((argv for names, argv in _INSTALL.items() if release.partition(" ")[0] in names), None)
    if install is None or install[0] != "apt-get":
        return f"the command of {release or 'its distribution'} that installs {', '.join(programs)}"
    packages = dict.fromkeys(_DEBIAN.get(program, program) for program in programs)
    return _typed((*install, *packages), access, local=False)


def start_line(access: Access, *, local: bool) -> str:
    """Return the line that starts libvirt's daemon on a host, now and at each boot.

    >>> start_line(Access(host="desk", port=2222, jump="gate"), local=False)
    'ssh -t -p 2222 -J gate root@desk systemctl enable --now libvirtd'
    """
    return _typed(("systemctl", "enable", "--now", "libvirtd"), access, local=local)


def _typed(argv: Argv, access: Access, *, local: bool) -> str:
    if local:
        return command_line(argv)
    way: Argv = ("ssh", "-t", *(("-p", str(access.port)) if access.port != 22 else ()))
    way = (*way, *(("-J", access.jump) if access.jump else ()), f"{access.user}@{access.host}")
    return command_line((*way, *(("sudo",) if access.user != "root" else ()), *argv))
