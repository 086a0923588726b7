# Writes standard input to a file so that readers see the old content or the new, never a part.
# Arguments: PATH MODE OWNER GROUP SHA256 MARK UNIQUE KEEP ENTRY [VALIDATE…]; MARK begins the names of this path's
# temporary directories; KEEP is a directory for what was there before us, ENTRY this path's place in it, or empty.
# Each process that it starts costs a machine without hardware virtualisation tens of milliseconds.
set -euo pipefail
path=$1 mode=$2 owner=$3 group=$4 digest=$5 mark=$6 unique=$7 keep=$8 entry=$8/$9
shift 9
directory=${path%/*}/
temporary=$directory$mark.$unique
new=$temporary/${path##*/}
if [ -d "$path" ] && [ ! -L "$path" ]; then
    echo "$path is a directory" >&2
    exit 73
fi

# What a killed call left; one that still runs somehow fails from here on, since its directory is gone.
for left in "$directory$mark".*; do
    if [ -e "$left" ]; then rm -rf -- "$left"; fi
done

if [ -n "$keep" ]; then
    if [ ! -d "$keep" ]; then (umask 077 && mkdir -p -- "$keep"); fi
    missing=${directory%/}
    while [ -n "$missing" ] && [ ! -d "$missing" ]; do
        : >"$keep/made-$(printf '%s' "$missing" | sha256sum | cut -c1-32)"
        missing=${missing%/*}
    done
    for left in "$entry".new.*; do
        if [ -e "$left" ]; then rm -rf -- "$left"; fi
    done
    if [ ! -e "$entry" ]; then
        fresh=$entry.new.$unique
        (umask 077 && mkdir -- "$fresh" && printf '%s' "$path" >"$fresh/path")
        if [ -e "$path" ] || [ -L "$path" ]; then
            cp -a --no-dereference -- "$path" "$fresh/original"
        fi
        if [ -f "$fresh/original" ] && [ ! -L "$fresh/original" ]; then
            sync -- "$fresh/original" "$fresh/path" "$fresh"
        else
            sync -- "$fresh/path" "$fresh"
        fi
        mv -T -- "$fresh" "$entry"
        sync -- "$keep"
    fi
fi

if [ ! -d "$directory" ]; then (umask 022 && mkdir -p -- "$directory"); fi
umask 077
mkdir -- "$temporary"
trap 'rm -rf -- "$temporary"' EXIT
install --mode="$mode" --owner="$owner" --group="$group" -- /dev/stdin "$new"
found=$(sha256sum <"$new")
if [ "${found%% *}" != "$digest" ]; then
    echo "the content did not arrive whole" >&2
    exit 74
fi
if [ $# -gt 0 ]; then
    chmod 0711 -- "$temporary"
    "${@//'{}'/"$new"}" </dev/null >&2
fi
sync -- "$new"
mv -fT -- "$new" "$path"
rmdir -- "$temporary"
trap - EXIT
sync -- "$directory"
