#!/bin/bash
# Stands for systemctl, systemd-run and journalctl: notes its arguments, and remembers units as files.
# A unit named in /etc/fake-broken fails to start; one in /etc/fake-missing is not found; /etc/fake-simple: Type=simple;
# one whose first line in /etc/fake-needs names a file and a text fails to start unless the file has that text.
# Where there is /etc/fake-strict, a unit without a file in /etc/systemd/system that was never told anything is not found.
# A timer with OnActiveSec= really runs its service's command after that time, and again as OnUnitInactiveSec= says.
state=/run/fake-systemd
[ -d "$state" ] || mkdir -p "$state"
call="${0##*/} $* "
printf '%s\n' "${call//$'\n'/ }" >>"$state/calls" # without other processes: systemctl is one
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

fails() {
    local file text
    [ ! -e "/etc/fake-broken/$1" ] || return 0
    [ -e "/etc/fake-needs/$1" ] || return 1
    read -r file text <"/etc/fake-needs/$1"
    ! grep -qF -- "$text" "$file" 2>/dev/null
}

known() {
    local place
    for place in "/etc/systemd/system/$1" "$state/$1.active" "$state/$1.enabled" "$state/$1.failed"; do
        [ ! -e "$place" ] || return 0
    done
    return 1
}

run_timer() {
    local first='' again='' token=$$ line
    while read -r line; do
        case $line in
        OnActiveSec=*s) first=${line#*=} ;;
        OnUnitInactiveSec=*s) again=${line#*=} ;;
        esac
    done <"/etc/systemd/system/$1"
    echo "$token" >"$state/$1.token"
    (
        exec 9>&- </dev/null >/dev/null 2>&1
        sleep "$first"
        while [ "$(cat "$state/$1.token" 2>/dev/null)" = "$token" ] && [ -n "$first" ]; do
            command=$(sed -n 's/^ExecStart=//p' "/etc/systemd/system/${1%.timer}.service")
            $command >>"$state/${1%.timer}.log" 2>&1
            sleep "${again:-86400}"
        done
    ) &
}

verb=$1
shift
units=() now=0 shown='' value=0
for word in "$@"; do
    case $word in
    --now) now=1 ;;
    --property=*) shown=$shown,${word#--property=} ;;
    --value) value=1 ;;
    -*) ;;
    *) units+=("$word") ;;
    esac
done
code=0
for unit in "${units[@]}"; do
    case $verb in
    start | restart)
        if fails "$unit"; then
            : >"$state/$unit.failed"
            rm -f "$state/$unit.active"
            echo "Job for $unit failed." >&2
            code=1
            continue
        fi
        rm -f "$state/$unit.failed"
        : >"$state/$unit.active"
        case $unit in *.timer) [ ! -e "/etc/systemd/system/$unit" ] || run_timer "$unit" ;; esac
        ;;
    try-reload-or-restart)
        if fails "$unit"; then
            echo "Job for $unit failed." >&2
            code=1
        fi
        ;;
    stop) rm -f "$state/$unit.active" "$state/$unit.token" ;;
    enable) : >"$state/$unit.enabled" ;;
    disable)
        rm -f "$state/$unit.enabled"
        if [ $now = 1 ]; then rm -f "$state/$unit.active" "$state/$unit.token"; fi
        ;;
    is-active)
        is=inactive
        [ ! -e "$state/$unit.failed" ] || is=failed
        [ ! -e "$state/$unit.active" ] || is=active
        case " $* " in *" --quiet "*) ;; *) echo "$is" ;; esac
        [ $is = active ] || code=3
        ;;
    is-enabled)
        if ! known "$unit"; then
            echo "Failed to get unit file state for $unit: No such file or directory" >&2
            code=1
        else
            [ -e "$state/$unit.enabled" ] && echo enabled || echo disabled
        fi
        ;;
    cat) known "$unit" || code=1 ;;
    show)
        load=loaded active=inactive sub=dead enabled=disabled result=success
        type=notify
        [ ! -e "/etc/fake-simple/$unit" ] || type=simple
        [ ! -e "/etc/fake-missing/$unit" ] || load=not-found
        if [ -e /etc/fake-strict ] && ! known "$unit"; then load=not-found enabled=''; fi
        [ ! -e "$state/$unit.active" ] || active=active sub=running
        [ ! -e "$state/$unit.failed" ] || active=failed sub=failed result=exit-code
        [ ! -e "$state/$unit.enabled" ] || enabled=enabled
        reloads=yes
        [ ! -e "/etc/fake-unreloadable/$unit" ] || reloads=no
        for line in "LoadState=$load" "ActiveState=$active" "SubState=$sub" "UnitFileState=$enabled" "Result=$result" \
            "Type=$type" NeedDaemonReload=no "CanReload=$reloads" InactiveExitTimestampMonotonic=1000000 \
            ActiveEnterTimestampMonotonic=1400000; do
            key=${line%%=*} is=${line#*=}
            case ,${shown:-$key}, in *,$key,*) [ $value = 1 ] && echo "$is" || echo "$line" ;; esac
        done
        ;;
    esac
done
exit $code
