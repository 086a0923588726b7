# Prints what is on this machine of one service, in one go. Reads only.
# Arguments: SERVICE LIMIT, then the paths, `--`, the units, `--`, the packages, `--`, and for each database that has
# migrations the program psql, the server's port, and its name.
# Prints for each path a line with its type (for a file: mode, owner, group, uid, gid, size, and how many bytes follow)
# and then that many bytes and a line's end; records begin and end with lines of their own. Ends with `complete`.
set -euo pipefail
configs=/root/configs
service=$1 limit=$2
shift 2
show() {
    local target
    if [ -L "$1" ]; then
        target=$(readlink -- "$1" && echo .)
        target=${target%$'\n.'}
        printf 'link %s\n%s\n' "$(printf %s "$target" | wc -c)" "$target"
    elif [ -f "$1" ]; then
        # Opened once: size and content are of the same file, and one that grows meanwhile is cut where it was.
        exec 8<"$1"
        local size
        size=$(stat --dereference --format=%s -- /dev/fd/8)
        if [ "$size" -gt "$limit" ]; then size=$limit; fi
        stat --dereference --format="file %a %U %G %u %g %s $size" -- /dev/fd/8
        head -c "$size" <&8
        printf '\n'
        exec 8<&-
    elif [ -e "$1" ]; then
        stat --format='other %F' -- "$1"
    elif [ -x "${1%/*}/" ] || [ ! -e "${1%/*}/" ]; then
        printf 'absent\n'
    else
        echo "$1: its directory cannot be read" >&2
        exit 13
    fi
}
printf 'files\n'
while [ "$1" != -- ]; do
    show "$1"
    shift
done
shift
printf 'units\n'
units=()
while [ "$1" != -- ]; do
    units+=("$1")
    shift
done
shift
if [ ${#units[@]} -gt 0 ]; then
    for unit in "${units[@]}"; do
        systemctl show --property=ActiveState,UnitFileState,Result,Type,CanReload \
            --property=InactiveExitTimestampMonotonic,ActiveEnterTimestampMonotonic -- "$unit"
        printf 'end\n'
    done
fi
printf 'packages\n'
packages=()
while [ "$1" != -- ]; do
    packages+=("$1")
    shift
done
shift
if [ ${#packages[@]} -gt 0 ]; then
    dpkg-query --show --showformat='${db:Status-Status} ${Package} ${Version}\n' -- "${packages[@]}" 2>/dev/null || true
fi
printf 'open\n'
if [ -L "$configs/.open/$service" ]; then readlink -- "$configs/.open/$service"; fi
printf 'kept\n'
kept='' taken_back=''
for change in "$configs/$service"/[0-9]*Z-*/; do
    state=
    if [ -r "$change/state" ]; then read -r state <"$change/state" || true; fi
    if [ "$state" = kept ]; then kept=$change; elif [ -n "$state" ]; then taken_back=$change; fi
done
if [ -n "$kept" ]; then printf '%s\n' "${kept%/}"; fi
printf 'digest\n'
if [ -n "$kept" ]; then
    if [ -r "$kept/digest" ]; then cat -- "$kept/digest"; fi
elif [ -n "$taken_back" ]; then
    printf '%064d\n' 0
fi
for list in manifest units packages; do
    printf 'first %s\n' "$list"
    if [ -r "$configs/$service/original/$list" ]; then cat -- "$configs/$service/original/$list"; fi
done
printf 'puppet\n'
# Notes of a Puppet that has run within two days: its agent's list, and the report that each run leaves.
states=()
for state in /var/cache/puppet/state /var/lib/puppet/state /opt/puppetlabs/puppet/cache/state; do
    if [ -d "$state" ]; then states+=("$state"); fi
done
if [ ${#states[@]} -gt 0 ]; then
    {
        find "${states[@]}" -maxdepth 1 -name resources.txt -mmin -2880 -exec sed -n 's|^file\[\(/.*\)\]$|\1|p' {} +
        find "${states[@]}" -maxdepth 1 -name last_run_report.yaml -mmin -2880 \
            -exec sed -nE 's,^  "?File\[(/.*)\]"?:$,\1,p' {} +
    } | sort -u
fi
printf 'left\n'
if [ -n "$kept" ] && [ -r "$kept/tool" ]; then
    printf 'ran\n'
    cat -- "$kept/tool"
fi
printf 'by hand\n'
if [ -n "$kept" ] && [ -r "$kept/by-hand" ]; then cat -- "$kept/by-hand"; fi
printf 'migrations\n'
while [ $# -gt 0 ]; do
    setpriv --reuid=postgres --regid=postgres --init-groups -- "$1" --no-psqlrc --quiet --no-align --tuples-only \
        --set=ON_ERROR_STOP=1 --host=/var/run/postgresql "--port=$2" "--dbname=$3" --file=- <<'END'
SELECT pg_catalog.to_regclass('understudy.migrations') IS NOT NULL AS known \gset
\if :known
SELECT service || E'\t' || name || E'\t' || digest FROM understudy.migrations ORDER BY service, name;
\endif
END
    shift 3
done
printf 'complete\n'
