# shellcheck shell=bash
# The libvirt daemon, and the directory for what virtual machines read.

LIBVIRT_NOTES=/var/lib/libvirt/dnsmasq

libvirt_runs() {
    if runs_systemd; then
        systemctl --quiet is-active libvirtd.socket || systemctl --quiet is-active libvirtd.service
    else
        daemon_runs virtlogd && daemon_runs libvirtd && [ -S /run/libvirt/libvirt-sock ]
    fi
}

# A daemon that was killed leaves its socket and pid file behind, and the pid may be another program's by now.
daemon_runs() {
    local pid
    { read -r pid || [ -n "$pid" ]; } 2>/dev/null <"/run/$1.pid" && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "$1" ]
}

require_libvirt() {
    libvirt_runs && return
    if runs_systemd; then
        can_be_root || fail 'libvirt is not running' 'As root, type: systemctl start libvirtd.socket'
        say 'starting libvirt; a second or two'
        as_root systemctl start libvirtd.socket || fail 'libvirt does not start' 'journalctl -u libvirtd says why.'
        return
    fi
    can_be_root || fail 'libvirt is not running' 'As root, type: virtlogd -d; libvirtd -d'
    take_lock
    libvirt_runs || start_libvirt
    release_lock
}

# Without udev, /dev/kvm is root's alone. libvirt then finds KVM as root, sees that qemu's own user may not open it, takes
# what it knows of qemu for outdated, and asks qemu anew: 8 seconds at every call. So: what udev would do.
share_kvm() {
    if [ "$(stat -c %U:%G:%a /dev/kvm 2>/dev/null)" = root:root:600 ] && getent group kvm >/dev/null; then
        as_root chgrp kvm /dev/kvm && as_root chmod 0660 /dev/kvm
    fi
}

start_libvirt() {
    say 'starting virtlogd and libvirtd (no systemd runs here); a second or two'
    local daemon tries
    share_kvm
    for daemon in virtlogd libvirtd; do
        daemon_runs "$daemon" || as_root "/usr/sbin/$daemon" -d </dev/null >&2 9>&- ||
            fail "$daemon does not start" 'Its own message is above.'
    done
    for tries in 1 2 3 4 5 6 7 8 9 10; do
        libvirt_runs && return
        sleep 0.5
    done
    fail "libvirtd was started and does not answer after $tries tries" 'Try: libvirtd --verbose'
}

# qemu runs as a user of its own: it must be able to pass through, and has no business listing.
# libvirt notes the machines of every network in a directory that it makes only for a network with DHCP: ours have none.
# Source: libvirt 9.0, networkStartDhcpDaemon and networkAllocatePort.
require_system_directory() {
    [ -d "$LIBVIRT_NOTES" ] || ! can_be_root || as_root install -d -m 0755 "$LIBVIRT_NOTES"
    [ -d "$SYSTEM_DIRECTORY" ] && return
    can_be_root || fail "$SYSTEM_DIRECTORY is missing" \
        "As root, type: install -d -m 0711 -o $(id -un) $SYSTEM_DIRECTORY"
    as_root install -d -m 0711 -o "$(id -u)" "$SYSTEM_DIRECTORY"
}
