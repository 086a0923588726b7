# Puts files in place, each whole, and prints the paths of those that are new or other than before. Enables UNIT.
# Where SERVES is there, a file of PATHS that is there stays as it is.
# Arguments: UNIT SERVES PATHS…
# Standard input: a tar archive with their absolute paths without the first slash, owners by name, and modes.
set -euo pipefail
umask 077
unit=$1 serves=$2
shift 2
kept() {
    local path
    if [ -z "$serves" ] || [ ! -e "$serves" ] || [ ! -e "/$name" ]; then return 1; fi
    for path in "$@"; do if [ "$path" = "/$name" ]; then return 0; fi; done
    return 1
}
temporary=$(mktemp -d /var/tmp/understudy-files.XXXXXX)
trap 'rm -rf -- "$temporary"' EXIT
tar --extract --directory="$temporary" --same-owner --same-permissions --file=-
cd "$temporary"
find . -type f ! -name .changed -printf '%P\n' | while IFS= read -r name; do
    if kept "$@"; then continue; fi
    if cmp --silent -- "$name" "/$name" && [ "$(stat -c '%U %G %a' -- "$name")" = "$(stat -c '%U %G %a' -- "/$name")" ]; then
        continue
    fi
    (umask 022 && mkdir -p -- "/${name%/*}")
    cp --preserve=mode,ownership -- "$name" "/$name.understudy-new"
    sync -- "/$name.understudy-new"
    mv -fT -- "/$name.understudy-new" "/$name"
    printf '/%s\n' "$name"
done | tee -- "$temporary/.changed"
anew=
if ! systemctl is-enabled --quiet -- "$unit"; then
    systemctl enable --quiet --no-reload -- "$unit"
    anew=1
fi
# Once: systemd takes seconds for it on a slow machine.
if [ -n "$anew" ] || grep --quiet '^/etc/systemd/' "$temporary/.changed"; then systemctl daemon-reload; fi
