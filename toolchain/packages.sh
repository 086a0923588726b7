# shellcheck shell=bash
# Debian packages. A list names for each package a program or file that proves it is there, so that looking costs no
# call of dpkg, and so that other systems than Debian are told what they lack.

# The packages of list $1 that are missing, one a line.
missing_packages() {
    local package proof
    while read -r package proof; do
        case $package in '' | '#'*) continue ;; esac
        is_there "$proof" || printf '%s\n' "$package"
    done <"$1"
}

is_there() {
    case $1 in
    /*) compgen -G "$1" >/dev/null ;;
    *) PATH="$PATH:/usr/sbin:/sbin" type -P "$1" >/dev/null ;;
    esac
}

# require_packages LIST PURPOSE [FUNCTION that installs]
require_packages() {
    local -a missing
    mapfile -t missing < <(missing_packages "$1")
    [ ${#missing[@]} = 0 ] || "${3:-install_packages}" "$2" "${missing[@]}"
}

install_packages() {
    local purpose=$1 package
    shift
    for package; do
        case $package in *[!a-z0-9.+-]*) fail "toolchain/debian-packages*.txt: '$package' is no package's name" ;; esac
    done
    command -v apt-get >/dev/null || fail "missing for $purpose: $*" \
        "These are the names of Debian packages, and there is no apt-get here. Install what provides them and try again."
    can_be_root || fail "missing for $purpose: $*" "As root, type this line, then the same command again:" \
        "apt-get update && apt-get install --no-install-recommends $*"
    take_lock
    say "installing $# Debian packages for $purpose; 1 to 3 minutes"
    apt_install "$@" || fail "apt-get could not install: $*" "Its own message is above."
    release_lock
}

# `apt-get update` comes first where there are no lists, and again where the lists are too old to fetch from. A dpkg that was
# interrupted lets apt-get install nothing before it has been finished.
apt_install() {
    local -a install=(env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends
        -o DPkg::Lock::Timeout=300 "$@")
    compgen -G '/var/lib/apt/lists/*Packages*' >/dev/null || quietly as_root apt-get update -q
    quietly as_root "${install[@]}" || {
        finish_dpkg
        as_root apt-get update -q >&2 9>&- && as_root "${install[@]}" >&2 9>&-
    }
}

finish_dpkg() { quietly as_root env DEBIAN_FRONTEND=noninteractive dpkg --configure -a </dev/null; }

# A package manager's pages of output matter only when it fails; daemons that it starts must not keep our lock.
quietly() {
    local log
    log=$(mktemp)
    if "$@" >"$log" 2>&1 9>&-; then
        rm -f "$log"
    else
        tail -n 5 "$log" >&2
        rm -f "$log"
        return 1
    fi
}

# The tests start their own servers; the user's machine gets none. While their packages are installed, nothing may start
# (Debian's policy-rc.d), PostgreSQL makes no cluster, and an SSH server or an HAProxy that was not there before stays off afterwards.
NO_START=/usr/sbin/policy-rc.d
NO_CLUSTER=/etc/postgresql-common/createcluster.d/understudy-no-cluster.conf

install_quiet_packages() {
    can_be_root || { install_packages "$@" && return; }
    take_lock
    trap allow_services EXIT
    forbid_services
    install_packages "$@"
    allow_services
    trap - EXIT
    release_lock
}

# What stays off is written down: who was killed cannot be asked what was there before.
forbid_services() {
    local -a off=()
    is_there sshd || off+=(ssh.service ssh.socket)
    is_there haproxy || off+=(haproxy.service)
    if [ ! -e "$NO_START" ]; then
        printf '#!/bin/sh\n# written by Understudy\nexit 101\n' | as_root tee "$NO_START" >/dev/null
        as_root chmod 0755 "$NO_START"
    fi
    [ ! -e "$NO_CLUSTER" ] || return 0
    as_root mkdir -p "${NO_CLUSTER%/*}"
    printf '%s\n' 'create_main_cluster = false' "${off[@]/#/# off afterwards: }" | as_root tee "$NO_CLUSTER" >/dev/null
}

allow_services() {
    local unit
    local -a off
    mapfile -t off < <(sed -n 's/^# off afterwards: //p' "$NO_CLUSTER" 2>/dev/null)
    for unit in "${off[@]}"; do
        ! runs_systemd || quietly as_root systemctl disable "$unit" || true
    done
    as_root rm -f "$NO_CLUSTER"
    ! start_is_forbidden || as_root rm -f "$NO_START"
}

start_is_forbidden() { [ -e "$NO_START" ] && grep -qs '^# written by Understudy' "$NO_START"; }

services_are_forbidden() { [ -e "$NO_CLUSTER" ] || start_is_forbidden; }

# Finishes what install_quiet_packages was killed in, unless another ./run is in it at this moment.
finish_quiet_packages() {
    services_are_forbidden || return 0
    can_be_root || {
        say "a ./run was killed while it installed packages, and none starts its service since. As root, type: ./run true"
        return
    }
    take_lock
    if services_are_forbidden; then
        say 'a ./run was killed while it installed Debian packages; finishing that'
        if finish_dpkg; then
            allow_services
        else
            say "dpkg cannot finish it now. As root, type: dpkg --configure -a; then ./run true, which removes $NO_START:" \
                'as long as that is there, no package that is installed starts its service'
        fi
    fi
    release_lock
}
