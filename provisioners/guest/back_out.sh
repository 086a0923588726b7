#!/bin/bash
# Takes a change of a service back, with the copies that lie beside this file: files with their mode and owner, links,
# what was absent, packages, and whether units ran. Needs nothing that Debian has not. It may be killed at any point and
# run again, and run again later. What somebody else wrote meanwhile is saved in `found` first.
#   bash back-out.sh              takes it back, also long after it was kept
#   bash back-out.sh --deadline   only if it was not kept and its deadline is over, or the machine was started anew
#   bash back-out.sh --left-over  only if it was not kept
#   bash back-out.sh --first      within a change: puts back what was there before the first change of all
# Prints `backed out`, `kept` or `not yet` as its last line; or `backed out, except for what is still to do`, and before
# it, after `STILL TO DO: `, what only a person can take back. Each line of `manifest`: path, what was there, mode, owner,
# digest; of `units`: unit, whether enabled, whether active, how it takes an old file; of `packages`: name, version or -.
set -uo pipefail
umask 077
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
here=$(dirname -- "$(readlink -f -- "$0")") || exit 1
cd -- "$here" || exit 1
folder=${here%/*}
service=${folder##*/}
open=${folder%/*}/.open/$service
unit=understudy-back-out-$service
bad=0
first=0
still=0
failed() {
    printf 'NOT TAKEN BACK: %s\n' "$*" >&2
    bad=1
}

# Once it is all back, that is how it was; a change that gives it up is not kept then.
runs_not() {
    printf '%s does not run on what was there before\n' "$1" >&2
    if [ "$first" = 1 ]; then bad=1; fi
}

# Remembered also for the next run, should this one be killed: then the units have yet to be told.
changed=0
note_change() {
    changed=1
    : >changed
}

# A step that still runs is waited for; one that hangs is ended.
lock() {
    : >>lock
    exec 9<lock
    flock --wait 300 9 && return
    for held in /proc/[0-9]*/fd/9; do
        if [ "$held" -ef lock ] && [ "${held%/fd/9}" != "/proc/$$" ]; then
            held=${held#/proc/}
            kill -KILL "${held%%/*}" 2>/dev/null
        fi
    done
    flock 9
}

expired() {
    local boot='' up='' now seconds=0
    { read -r boot && read -r up _; } <beat 2>/dev/null || return 0
    [ "$boot" = "$(cat /proc/sys/kernel/random/boot_id)" ] || return 0
    read -r seconds <deadline || return 0
    read -r now _ </proc/uptime
    [ $((${now%.*} - ${up%.*})) -ge "$seconds" ]
}

version() {
    local shown
    shown=$(dpkg-query -Wf '${db:Status-Status} ${Version}' -- "$1" 2>/dev/null) || shown=
    case $shown in "installed "*) printf '%s\n' "${shown#* }" ;; *) printf -- '-\n' ;; esac
}

# dpkg takes files in the order given, and refuses one that needs another even to be unpacked (Pre-Depends): each time at
# least one more of them gets there.
install_all() {
    local _
    for _ in "$@"; do
        if dpkg --force-downgrade --force-confold --install -- "$@" </dev/null >&2 9<&-; then return 0; fi
    done
    return 1
}

packages() {
    local name was now purge=() debs=() how=--purge
    [ -s packages ] || return 0
    # What has served since before it was ours may have data by now, which purging would remove as well.
    [ "${here##*/}" != original ] || how=--remove
    dpkg --configure -a --force-confold </dev/null >&2 9<&- || true
    while IFS=$'\t' read -r name was <&3; do
        now=$(version "$name")
        if [ "$now" = "$was" ]; then continue; fi
        if [ "$was" = - ]; then purge+=("$name"); else debs+=("debs/$name.deb"); fi
    done 3<packages
    [ ${#purge[@]} -eq 0 ] && [ ${#debs[@]} -eq 0 ] && return
    note_change
    if [ ${#purge[@]} -gt 0 ]; then
        dpkg "$how" -- "${purge[@]}" </dev/null >&2 9<&- || failed "packages ${purge[*]}"
    fi
    if [ ${#debs[@]} -gt 0 ]; then
        install_all "${debs[@]}" || failed "${debs[*]}"
    fi
}

same() {
    if [ -L "$2" ]; then
        [ -L "$1" ] && [ "$(readlink -- "$1")" = "$(readlink -- "$2")" ]
    elif [ -e "$2" ]; then
        [ ! -L "$1" ] && [ -f "$1" ] && cmp -s -- "$2" "$1" &&
            [ "$(stat -c '%a %u %g' -- "$1")" = "$(stat -c '%a %u %g' -- "$2")" ]
    else
        [ ! -e "$1" ] && [ ! -L "$1" ]
    fi
}

# Keeps what is at a path, unless we put it there or have its copy.
save() {
    [ "$first" = 0 ] || return 0 # the change within which this runs has copied it just now
    [ -e "$1" ] || [ -L "$1" ] || return 0
    if [ -f "$1" ] && [ ! -L "$1" ]; then
        if [ -f "files$1" ] && [ ! -L "files$1" ] && cmp -s -- "files$1" "$1"; then return 0; fi
        if grep -qsxFe "$(sha256sum <"$1" | cut -c1-64) $1" ours; then return 0; fi
        if [ -f "found$1" ] && cmp -s -- "found$1" "$1"; then return 0; fi
    fi
    mkdir -p found && (cd / && cp -a --parents --backup=numbered -- "$1" "$here/found/") || return 1
    printf 'what somebody else wrote to %s is now in %s\n' "$1" "$here/found$1"
}

restore() {
    local path=$1 kind=$2 above=${1%/*}/ beside=${1%/*}/.understudy-$service
    rm -rf -- "$beside"
    if [ "$kind" = absent ]; then
        same "$path" /nothing/here && return
    elif [ ! -e "files$path" ] && [ ! -L "files$path" ]; then
        failed "$path: its copy is gone"
        return
    elif same "$path" "files$path"; then
        return
    fi
    note_change
    if ! save "$path"; then
        failed "$path: what somebody else wrote there could not be saved"
        return
    fi
    if [ "$kind" = absent ]; then
        rm -f -- "$path" || failed "$path"
        return
    fi
    if ! { (umask 022 && mkdir -p -- "$above") && mkdir -- "$beside" && cp -a -- "files$path" "$beside/back" &&
        { [ "$kind" = link ] || sync -- "$beside/back"; } && mv -fT -- "$beside/back" "$path" &&
        rmdir -- "$beside" && sync -- "$above"; }; then
        failed "$path"
    fi
    rm -rf -- "$beside"
}

files() {
    local path kind
    while IFS=$'\t' read -r path kind _ <&3; do
        if [ "$kind" = nodir ]; then
            if [ -d "$path" ]; then rmdir --ignore-fail-on-non-empty -- "$path"; fi
        else
            restore "$path" "$kind"
        fi
    done 3<manifest
}

# Units that were not there are stopped while their files still are.
new_units() {
    local name enabled active
    while IFS=$'\t' read -r name enabled active _ <&3; do
        if [ "$enabled" = none ] && [ "$active" != active ] && systemctl cat -- "$name" >/dev/null 2>&1; then
            systemctl disable --quiet --now -- "$name" 2>/dev/null 9<&- || systemctl stop -- "$name" 9<&- || true
        fi
    done 3<units
}

units() {
    local name enabled active verb now reloaded=()
    if [ -e changed ]; then changed=1; fi
    if [ -s units ] || [ $changed = 1 ]; then systemctl daemon-reload; fi
    while IFS=$'\t' read -r name enabled active verb <&3; do
        [ "$enabled" != none ] || [ "$active" = active ] || continue
        now=$(systemctl is-enabled -- "$name" 2>/dev/null)
        case $enabled:$now in
        enabled:enabled | disabled:disabled) ;;
        enabled:*) systemctl enable --quiet -- "$name" || failed "$name is not enabled" ;;
        disabled:*) systemctl disable --quiet -- "$name" || failed "$name is not disabled" ;;
        esac
        if [[ $active == active || $active == *ing ]]; then
            systemctl reset-failed -- "$name" 2>/dev/null
            if [ $changed = 0 ]; then verb=start; fi
            if [ "$verb" = try-reload-or-restart ] && ! systemctl is-active --quiet -- "$name"; then verb=start; fi
            if [ "$verb" = try-reload-or-restart ]; then reloaded+=("$name"); fi
            systemctl "$verb" -- "$name" 9<&- || runs_not "$name"
        elif [ "$(systemctl is-active -- "$name")" = active ]; then
            systemctl stop -- "$name" 9<&- || failed "$name still runs"
        fi
    done 3<units
    # A unit may say a moment later that it reloads. It is waited for: what is backed out is what serves.
    if [ ${#reloaded[@]} -gt 0 ]; then sleep 1; fi
    SECONDS=0
    for name in "${reloaded[@]}"; do
        while [[ $(systemctl is-active -- "$name") == *ing && $SECONDS -lt 90 ]]; do sleep 1; done
    done
}

disarm() {
    if [ -e "/etc/systemd/system/$unit.service" ] || [ -e "/etc/systemd/system/$unit.timer" ]; then
        systemctl disable --quiet -- "$unit.service" "$unit.timer"
        systemctl stop -- "$unit.timer"
        rm -f -- "/etc/systemd/system/$unit.service" "/etc/systemd/system/$unit.timer"
        systemctl daemon-reload
    fi
    rm -f -- "$open"
}

# Migrations of databases, the last one first, each in one transaction, and only where this change has made it.
migrations() {
    local all=(migrations/*/) at folder ask made back
    for ((at = ${#all[@]} - 1; at >= 0; at--)); do
        folder=${all[at]%/}
        [ -e "$folder/begun" ] || continue
        mapfile -t ask <"$folder/psql"
        back=/dev/null
        if [ -e "$folder/back.sql" ]; then back=$folder/back.sql; fi
        made=$("${ask[@]}" --set=change="${here##*/}" --set=back="$([ $back = /dev/null ] && echo off || echo on)" \
            3<"$back" 9<&- <<'END'
\set sql `cat <&3`
BEGIN;
SELECT pg_catalog.pg_advisory_xact_lock(7211953) \g /dev/null
SELECT pg_catalog.to_regclass('understudy.migrations') IS NOT NULL AS known \gset
\set made off
\if :known
SELECT count(*) > 0 AS made FROM understudy.migrations
    WHERE service = :'service' AND name = :'name' AND change = :'change' \gset
\endif
\if :made
\echo made
\if :back
DELETE FROM understudy.migrations WHERE service = :'service' AND name = :'name';
SELECT pg_catalog.set_config('understudy.sql', :'sql', true) \g /dev/null
SET LOCAL ROLE :"owner";
DO 'BEGIN EXECUTE pg_catalog.current_setting(''understudy.sql''); END';
\endif
\endif
COMMIT;
END
        ) || { failed "the migration ${folder#*/}" && continue; }
        if [ "$made" = made ] && [ -e "$folder/restore" ]; then
            sed 's/^/STILL TO DO: /' "$folder/restore"
            still=1
        fi
    done
}

if [ "${1-}" = --first ]; then
    first=1
    here=$folder/original
    cd -- "$here" || exit 1
    new_units
    packages
    files
    units
    rm -f changed
    exit $bad
fi
lock
state=$(cat state 2>/dev/null)
is_open=0
if [ "$open" -ef . ]; then is_open=1; fi
if [ -n "${1-}" ] && [ "$state" = kept ]; then
    if [ $is_open = 1 ]; then disarm; fi
    echo kept
    exit 0
fi
if [ "${1-}" = --deadline ] && [ "$state" = open ] && ! expired; then
    echo 'not yet'
    exit 0
fi
if [ $is_open = 0 ] && [ -L "$open" ]; then
    echo "another change of $service is open: $(readlink -- "$open")" >&2
    exit 1
fi
if [ -e manifest ]; then
    new_units
    packages
    files
    units
    if [ -e migrations ]; then migrations; fi
    if [ -s still ]; then
        sed 's/^/STILL TO DO: /' still
        still=1
    fi
fi
[ $bad = 0 ] || exit 1
rm -f changed
if [ "${here##*/}" = original ]; then
    away() { date -u "+$folder/%Y%m%dT%H%M%SZ-taken-away"; }
    if [ -e "$(away)" ]; then sleep 1; fi
    mv -T -- "$here" "$(away)" || exit 1
else
    # Of a change that gave the service up: what was there before us is remembered again as before.
    if [ -e original ] && [ ! -e ../original ]; then mv -T -- original ../original || exit 1; fi
    { echo backed-out >state.new && sync -- state.new && mv -T -- state.new state; } || exit 1
fi
if [ $is_open = 1 ]; then disarm; fi
if [ $still = 1 ]; then
    echo 'backed out, except for what is still to do'
else
    echo 'backed out'
fi
