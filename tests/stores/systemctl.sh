#!/bin/bash
# Stands for systemctl where no systemd runs: really starts the one program that a unit's ExecStart names.
# Source: systemd.service(5), as far as the stores' units use it.
state=/run/fake-systemd
mkdir -p "$state"
printf '%s %s\n' "${0##*/}" "$*" >>"$state/calls"
[ "${0##*/}" = journalctl ] && {
    tail -n 20 "$state/log" 2>/dev/null
    exit 0
}
verb=$1
for unit in "$@"; do :; done
file=/etc/systemd/system/$unit
[ -e "$file" ] || file=/lib/systemd/system/$unit
value() { cat "$file" "/etc/systemd/system/$unit.d"/*.conf 2>/dev/null | sed -n "s/^$1=//p" | tail -n 1; }
running() { [ -s "$state/$unit.pid" ] && kill -0 "$(cat "$state/$unit.pid")" 2>/dev/null; }
stop() {
    running || return 0
    kill -INT "$(cat "$state/$unit.pid")"
    case $unit in mariadb*) kill -TERM "$(cat "$state/$unit.pid")" ;; esac
    while running; do sleep 0.05; done
    rm -f "$state/$unit.pid"
}
ready() {
    case $unit in
    postgresql*)
        port=$(sed -n "s/^port = '\(.*\)'/\1/p" /etc/postgresql/15/main/postgresql.conf)
        /usr/lib/postgresql/15/bin/pg_isready -q -h /var/run/postgresql -p "${port:-5432}"
        ;;
    mariadb*) mariadb-admin --socket=/run/mysqld/mysqld.sock ping >/dev/null 2>&1 ;;
    *) true ;;
    esac
}
start() {
    running && return 0
    local condition runtime user
    condition=$(value ConditionPathExists)
    if [ -n "$condition" ] && [ ! -e "$condition" ]; then return 0; fi
    if [ -e "/etc/fake-broken/$unit" ]; then
        echo "Job for $unit failed." >&2
        return 1
    fi
    runtime=$(value RuntimeDirectory) user=$(value User)
    [ -z "$runtime" ] || install -d -o "${user:-root}" -g "${user:-root}" "/run/$runtime"
    read -ra words <<<"$(value ExecStart)"
    setsid setpriv --reuid="${user:-root}" --regid="${user:-root}" --init-groups "${words[@]}" \
        </dev/null >>"$state/log" 2>&1 9>&- & # a change's lock is not a server's
    echo $! >"$state/$unit.pid"
    for _ in $(seq 400); do
        running || { echo "Job for $unit failed." >&2; return 1; }
        ready && return 0
        sleep 0.05
    done
    return 1
}
case $verb in
start) start ;;
restart) stop && start ;;
stop) stop ;;
reload | try-reload-or-restart) running && kill -HUP "$(cat "$state/$unit.pid")" ;;
enable) : >"$state/$unit.enabled" ;;
disable) rm -f "$state/$unit.enabled" ;;
is-active)
    code=0 is=active
    running || code=3 is=inactive
    case " $* " in *" --quiet "*) ;; *) echo $is ;; esac
    exit $code
    ;;
is-enabled)
    code=0 is=enabled
    [ -e "$state/$unit.enabled" ] || code=1 is=disabled
    case " $* " in *" --quiet "*) ;; *) echo $is ;; esac
    exit $code
    ;;
daemon-reload | reset-failed) ;;
show)
    active=inactive enabled=disabled
    running && active=active
    [ ! -e "$state/$unit.enabled" ] || enabled=enabled
    printf 'ActiveState=%s\nUnitFileState=%s\nLoadState=loaded\nResult=success\nType=notify\nCanReload=yes\n' \
        "$active" "$enabled"
    ;;
esac
