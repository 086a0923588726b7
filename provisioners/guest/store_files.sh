# Puts files in place, each whole, and prints the paths of those that are new or other than before. Enables UNIT.
# Arguments: UNIT
# Standard input: a tar archive with their absolute paths without the first slash, owners by name, and modes.
set -euo pipefail
umask 077
unit=$1
temporary=$(mktemp -d /var/tmp/understudy-files.XXXXXX)
trap 'rm -rf -- "$temporary"' EXIT
tar --extract --directory="$temporary" --same-owner --same-permissions --file=-
cd "$temporary"
find . -type f ! -name .changed -printf '%P\n' | while IFS= read -r name; do
    if cmp --silent -- "$name" "/$name" && [ "$(stat -c '%U %G %a' -- "$name")" = "$(stat -c '%U %G %a' -- "/$name")" ]; then
        continue
    fi
    (umask 022 && mkdir -p -- "/${name%/*}")
    cp --preserve=mode,ownership -- "$name" "/$name.understudy-new"
    sync -- "/$name.understudy-new"
    mv -fT -- "/$name.understudy-new" "/$name"
    printf '/%s\n' "$name"
done | tee -- "$temporary/.changed"
if grep --quiet '^/etc/systemd/' "$temporary/.changed"; then systemctl daemon-reload; fi
if ! systemctl is-enabled --quiet -- "$unit"; then systemctl enable --quiet -- "$unit"; fi
