"""What may differ between prod and its stage by what a stage is, each with its reason."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from model.mirror.excuse import Excuse
from model.service import Service
from model.topology import Machine
from model.tunnels import INNER_PORT

_OWN = "each machine has an identity of its own"
_SYSTEM = "the system itself writes it"
_NETWORK = "a stage has a second card, for control, and no way out"
_WAY_IN = "how a stage is entered: systemd starts its SSH server"
_DERIVED = "the kernel derives it from memory and processors"
_PLACE = "where a store's data lies is each machine's own"
_HARMLESS = "a restored database is harmless: it archives nowhere, and follows stage's own primary"
_FIRMWARE = "a virtual machine loads no firmware"
_TUNNEL = "machines in several places speak with each other through a tunnel"
_OURS = "this project's own, which makes the stage"

_FILES = {
    _OWN: (
        "/etc/machine-id",
        "/etc/hostid",
        "/etc/ssh/ssh_host_*",
        "/etc/ssl/private/ssl-cert-snakeoil.key",
        "/etc/understudy/identity.json",
    ),
    "certificates and passwords are made on each machine": (
        "/etc/ssl/certs/ssl-cert-snakeoil.pem",
        "/etc/shadow",
        "/etc/gshadow",
    ),
    _SYSTEM: (
        "/etc/ld.so.cache",
        "/etc/mtab",
        "/etc/adjtime",
        "/etc/.updated",
        "/etc/.pwd.lock",
        "/etc/passwd-",
        "/etc/group-",
        "/etc/shadow-",
        "/etc/gshadow-",
        "/etc/subuid-",
        "/etc/subgid-",
        "/etc/lvm/archive/*",
        "/etc/lvm/backup/*",
    ),
    _NETWORK: (
        "/etc/netplan/*",
        "/etc/network/interfaces",
        "/etc/network/interfaces.d/*",
        "/etc/systemd/network/*",
        "/etc/resolv.conf",
        "/etc/udev/rules.d/*-net.rules",
    ),
    "disks are each machine's own": ("/etc/fstab",),
}
_ENGINES = ("/etc/postgresql/*.conf", "/etc/mysql/*.cnf")
_SETTINGS = "where data lies and how it is archived is each stack's own; settings and rules are compared one by one"
# Source: Linux, Documentation/admin-guide/sysctl, and what differs between two sizes of one machine.
_DERIVED_KEYS = (
    "fs.epoll.max_user_watches",
    "fs.fanotify.*",
    "fs.file-max",
    "fs.inotify.max_user_watches",
    "kernel.sched_*",
    "kernel.threads-max",
    "net.core.*mem_*",
    "net.ipv4.tcp_max_orphans",
    "net.ipv4.tcp_max_syn_backlog",
    "net.ipv4.tcp_max_tw_buckets",
    "net.ipv4.tcp_?mem",
    "net.ipv4.tcp_mem",
    "net.ipv4.udp_mem",
    "net.netfilter.nf_conntrack_*",
    "net.ipv6.route.max_size",
    "user.max_*_namespaces",
    "vm.*_reserve_kbytes",
    "vm.min_free_kbytes",
    "vm.lowmem_reserve_ratio",
)
# Source: Linux, mm/mmap.c (init_user_reserve), mm/page_alloc.c (nr_free_buffer_pages), net/ipv4/tcp.c and udp.c.
_DERIVED_AT_BOOT = ("vm.*_reserve_kbytes", "vm.min_free_kbytes", "net.ipv4.tcp_mem", "net.ipv4.udp_mem")
_PLACES = ("data_directory", "config_file", "hba_file", "ident_file", "external_pid_file", "unix_socket_directories")
_MARIADB_PLACES = ("datadir", "socket", "pid_file", "tmpdir", "hostname", "server_id", "server_uid", "log_bin*")
_LIVE = ("archive_*", "restore_command", "primary_conninfo", "primary_slot_name", "recovery_*", "cluster_name")
_FOR_SMALLER = ("shared_buffers", "effective_cache_size", "shared_memory_size*", "wal_buffers", "innodb_buffer_pool*")

_USUAL = (
    ("files", "content", _SETTINGS, _ENGINES),
    ("files", "stage", _OURS, ("/etc/systemd/system/understudy-*",)),
    ("kernel settings", "", _DERIVED, _DERIVED_KEYS),
    ("kernel settings", "prod", _NETWORK, ("net.*.card *",)),
    ("kernel settings", "stage", _NETWORK, ("net.*.card *",)),
    ("database settings", "", _PLACE, tuple(f"* {key}" for key in (*_PLACES, *_MARIADB_PLACES))),
    ("database settings", "", _HARMLESS, tuple(f"postgresql * {key}" for key in _LIVE)),
    ("packages", "prod", _FIRMWARE, ("firmware-*", "*-microcode")),
    ("units", "", _WAY_IN, ("ssh.service", "ssh.socket", "sshd.service")),
    ("units", "stage", _OURS, ("understudy-*",)),
    ("units", "", _TUNNEL, ("systemd-networkd.*",)),
    ("ports", "stage", _TUNNEL, (f"udp *:{INNER_PORT}",)),
    ("ports", "both", _WAY_IN, ("tcp *:22",)),
    ("system", "prod", "a stage's kernel is booted directly", ("file system /boot*", "size of /boot*")),
)
"""Area, where alone it is (as `Excuse.only`), the reason, and the keys."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known beforehand of one machine and its copy.

    Args:
        prod: the machine as prod's file describes it.
        stage: its copy, made smaller where ``at_most`` says so.
        services: the site's services that prod's machine has.
        secret_paths: files that hold a password, which is each stack's own.
        control_address: the stage machine's address for control; empty where unknown.
        emulated: whether one of the two is emulated.
        tunnel_ports: where the stage's, or prod's, waits for tunnels: ``stage`` or ``prod``, with the port.
    """

    prod: Machine
    stage: Machine
    services: Sequence[Service] = ()
    secret_paths: Sequence[str] = ()
    control_address: str = ""
    emulated: bool = False
    tunnel_ports: Sequence[tuple[str, int]] = ()


def of_a_boot(machine: str) -> tuple[Excuse, ...]:
    """Return what may differ on one and the same machine before and after it booted."""
    reason = "the kernel derives it from the memory that is free while it boots"
    return tuple(
        Excuse(machine=machine, area="kernel settings", only="both", key=key, reason=reason) for key in _DERIVED_AT_BOOT
    )


def built_in(known: Known) -> tuple[Excuse, ...]:
    """Return what may differ between a machine and its copy."""
    own = (*_of_services(known), *_of_sizes(known), *_of_addresses(known), *_of_emulation(known))
    return (*_usual(known.prod.name), *own)


def _usual(machine: str) -> Iterator[Excuse]:
    for reason, files in _FILES.items():
        yield from (Excuse(machine=machine, area="files", key=key, reason=reason) for key in files)
    for area, only, reason, keys in _USUAL:
        yield from (Excuse(machine=machine, area=area, only=only, key=key, reason=reason) for key in keys)


def _of_services(known: Known) -> Iterator[Excuse]:
    """What is for live data only is not on a mirror; and the engine's settings for it have another value there."""
    for service in known.services:
        for name, _ in service.engine.live_settings if service.engine else ():
            reason = f"services/{service.name}: live_settings are for prod's own data"
            yield Excuse(machine=known.prod.name, area="database settings", key=f"* {name}", reason=reason)
        if service.mirrored:
            continue
        reason = f"services/{service.name} is not mirrored"
        paths = {file.path for file in service.files}
        units = {unit.unit for unit in service.units} | {path.rpartition("/")[2] for path in paths}
        for area, keys in (("files", paths), ("units", units), ("packages", set(service.packages))):
            for key in sorted(keys):
                yield Excuse(machine=known.prod.name, area=area, key=_literal(key), reason=reason, only="prod")
        for path in sorted(paths):  # a package may have brought its own
            yield Excuse(machine=known.prod.name, area="files", key=_literal(path), reason=reason, only="both")
    for path in known.secret_paths:
        reason = "it holds a password, which is each stack's own; `preview --refresh` compares the rest with Git"
        yield Excuse(machine=known.prod.name, area="files", key=_literal(path), reason=reason, only="content")


def _of_sizes(known: Known) -> Iterator[Excuse]:
    sizes = (
        ("vcpus", ("processors",)),
        ("memory_mib", ("memory",)),
        ("data_disk_mib", ("size of /srv",)),
    )
    for size, keys in sizes:
        if getattr(known.prod, size) != getattr(known.stage, size):
            reason = "at_most makes stage's machine smaller"
            for key in keys:
                yield Excuse(machine=known.prod.name, area="system", key=key, reason=reason)
    if known.prod.memory_mib != known.stage.memory_mib:
        for key in _FOR_SMALLER:
            reason = "at_most gives stage's machine less memory"
            yield Excuse(machine=known.prod.name, area="database settings", key=f"* {key}", reason=reason)


def _of_addresses(known: Known) -> Iterator[Excuse]:
    if known.control_address:
        key = f"??? {known.control_address}:*"
        reason = "an address of the card for control"
        yield Excuse(machine=known.prod.name, area="ports", key=key, reason=reason, only="stage")
    for only, port in known.tunnel_ports:
        yield Excuse(machine=known.prod.name, area="ports", key=f"udp *:{port}", reason=_TUNNEL, only=only)


def _of_emulation(known: Known) -> Iterator[Excuse]:
    """See `model.kernel.kernel_command_line`."""
    if known.emulated:
        key = "kernel.randomize_va_space"
        reason = "an emulated machine gives programs the same addresses each time, to be faster"
        yield Excuse(machine=known.prod.name, area="kernel settings", key=key, reason=reason, only="both")


def _literal(text: str) -> str:
    """A file's name may hold what a pattern would read as a class of characters.

    >>> _literal("/etc/a[1]")
    '/etc/a[[]1]'
    """
    return "".join(f"[{character}]" if character in "*?[" else character for character in text)
