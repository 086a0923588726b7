#!/bin/bash
# Stands for systemctl where no systemd runs: really starts and ends the one program of a service, as its user and with its
# environment. What else there is to systemctl does `systemctl-told`, the one of tests/doubles, which remembers what it is told.
# Source: systemd.service(5), systemd.exec(5), as far as the units of the sample prod use them.
state=/run/fake-systemd
mkdir -p "$state"
file_of() {
    file=/etc/systemd/system/$1
    [ -e "$file" ] || file=/lib/systemd/system/$1
}
value() { cat "$file" "/etc/systemd/system/$unit.d"/*.conf 2>/dev/null | sed -n "s/^$1=//p"; }
real() {
    case $1 in
    ssh.service | understudy-*) return 1 ;;
    *.service) file_of "$1" && [ -e "$file" ] && grep -q '^ExecStart=/' "$file" ;;
    *) return 1 ;;
    esac
}
running() { [ -s "$state/$unit.pid" ] && kill -0 "$(cat "$state/$unit.pid")" 2>/dev/null; }
stop() {
    running || return 0
    case $unit in postgresql*) kill -INT "$(cat "$state/$unit.pid")" ;; *) kill -TERM "$(cat "$state/$unit.pid")" ;; esac
    while running; do sleep 0.05; done
    rm -f "$state/$unit.pid"
}
ready() {
    case $unit in
    postgresql*)
        port=$(sed -n "s/^port = '\(.*\)'/\1/p" /etc/postgresql/15/main/postgresql.conf)
        /usr/lib/postgresql/15/bin/pg_isready -q -h /var/run/postgresql -p "${port:-5432}"
        ;;
    *) sleep 0.5 ;;
    esac
}
start() {
    running && return 0
    local condition runtime user each kind mode user_ group
    condition=$(value ConditionPathExists | tail -n 1)
    if [ -n "$condition" ] && [ ! -e "$condition" ]; then return 0; fi
    runtime=$(value RuntimeDirectory | tail -n 1) user=$(value User | tail -n 1)
    if [ "$(value DynamicUser)" = yes ]; then user=nobody; fi
    [ -z "$runtime" ] || install -d -o "${user:-root}" -g "${user:-root}" "/run/$runtime"
    # Source: tmpfiles.d(5): a real system has made these at boot.
    if [ -e "/usr/lib/tmpfiles.d/${unit%.service}.conf" ]; then
        while read -r kind each mode user_ group _; do
            [ "$kind" != d ] || install -d -m "$mode" -o "$user_" -g "$group" "$each"
        done <"/usr/lib/tmpfiles.d/${unit%.service}.conf"
    fi
    set -a
    eval "export $(value Environment | tr '\n' ' ')"
    for each in $(value EnvironmentFile); do
        # shellcheck disable=SC1090  # the unit names it
        [ ! -e "${each#-}" ] || . "${each#-}"
    done
    eval "words=($(value ExecStart | tail -n 1))"
    if [ -n "$user" ]; then words=(setpriv --reuid="$user" --regid="$(id -gn "$user")" --init-groups "${words[@]}"); fi
    setsid "${words[@]}" </dev/null >>"$state/log" 2>&1 9>&- &
    echo $! >"$state/$unit.pid"
    set +a
    for _ in $(seq 400); do
        running || return 1
        ready && running && return 0
        sleep 0.05
    done
    return 1
}
reload() {
    case $unit in haproxy.service) kill -USR2 "$(cat "$state/$unit.pid")" ;; *) kill -HUP "$(cat "$state/$unit.pid")" ;; esac
}

verb=$1 now=0
for word in "$@"; do [ "$word" != --now ] || now=1; done
if [ "$*" = "reload-or-restart -- ssh.service" ]; then
    kill -HUP 1
    exit 0
fi
for unit in "${@:2}"; do
    real "$unit" || continue
    case $verb in
    start) start ;;
    restart) stop && start ;;
    stop) stop ;;
    disable) [ $now = 0 ] || stop ;;
    reload) running && reload ;;
    try-reload-or-restart) ! running || reload ;;
    *) running || rm -f "$state/$unit.active" ;;
    esac || {
        echo "Job for $unit failed." >&2
        tail -n 5 "$state/log" >&2
        exit 1
    }
done
case $verb in reload) exit 0 ;; esac
case " $* " in *" ssh.service "*) : >"$state/ssh.service.active" ;; esac
exec systemctl-told "$@"
