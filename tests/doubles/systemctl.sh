#!/bin/bash
# Stands for systemctl, systemd-run and journalctl: notes its arguments, and remembers units as files.
# A unit named in /etc/fake-broken fails to start; one in /etc/fake-missing is not found; /etc/fake-simple: Type=simple.
state=/run/fake-systemd
mkdir -p "$state"
printf '%s %s\n' "${0##*/}" "$(printf '%s ' "$@" | tr '\n' ' ')" >>"$state/calls"
case ${0##*/} in
journalctl)
    echo "the last words of the service"
    exit 0
    ;;
systemd-run)
    for word in "$@"; do case $word in --unit=*) : >"$state/${word#--unit=}.timer.active" ;; esac; done
    exit 0
    ;;
esac
verb=$1
for unit in "$@"; do :; done
case $verb in
start | restart)
    if [ -e "/etc/fake-broken/$unit" ]; then
        : >"$state/$unit.failed"
        rm -f "$state/$unit.active"
        echo "Job for $unit failed." >&2
        exit 1
    fi
    rm -f "$state/$unit.failed"
    : >"$state/$unit.active"
    ;;
try-reload-or-restart)
    if [ -e "/etc/fake-broken/$unit" ]; then
        echo "Job for $unit failed." >&2
        exit 1
    fi
    ;;
stop) rm -f "$state/$unit.active" ;;
enable) : >"$state/$unit.enabled" ;;
disable)
    rm -f "$state/$unit.enabled"
    case " $* " in *" --now "*) rm -f "$state/$unit.active" ;; esac
    ;;
is-active) [ -e "$state/$unit.active" ] ;;
is-enabled) [ -e "$state/$unit.enabled" ] && echo enabled || echo disabled ;;
show)
    load=loaded active=inactive sub=dead enabled=disabled result=success
    type=notify
    [ ! -e "/etc/fake-simple/$unit" ] || type=simple
    [ ! -e "/etc/fake-missing/$unit" ] || load=not-found
    [ ! -e "$state/$unit.active" ] || active=active sub=running
    [ ! -e "$state/$unit.failed" ] || active=failed sub=failed result=exit-code
    [ ! -e "$state/$unit.enabled" ] || enabled=enabled
    case $* in *NeedDaemonReload*) printf 'NeedDaemonReload=no\n' ;; esac
    printf 'LoadState=%s\nActiveState=%s\nSubState=%s\nUnitFileState=%s\nResult=%s\nType=%s\n' \
        "$load" "$active" "$sub" "$enabled" "$result" "$type"
    ;;
esac
