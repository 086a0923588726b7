# Puts back what was at PATH before us. Arguments: PATH MARK UNIQUE KEEP ENTRY, as for `put`.
# Prints `restored`, `removed` or `unknown`.
set -euo pipefail
path=$1 mark=$2 unique=$3 keep=$4 entry=$4/$5
directory=${path%/*}/
for left in "$directory$mark".*; do
    if [ -e "$left" ]; then rm -rf -- "$left"; fi
done
if [ ! -d "$entry" ]; then
    # Nothing of ours is known here: whoever imported it had it before, so it stays.
    printf 'unknown\n'
    exit 0
fi
if [ -e "$entry/original" ] || [ -L "$entry/original" ]; then
    temporary=$directory$mark.$unique
    mkdir -p -- "$directory"
    (umask 077 && mkdir -- "$temporary")
    trap 'rm -rf -- "$temporary"' EXIT
    cp -a --no-dereference -- "$entry/original" "$temporary/original"
    [ -L "$temporary/original" ] || sync -- "$temporary/original"
    mv -fT -- "$temporary/original" "$path"
    rmdir -- "$temporary"
    printf 'restored\n'
else
    rm -f -- "$path"
    # Directories that we made go with the last file in them.
    above=${directory%/}
    while [ -n "$above" ]; do
        made=$keep/made-$(printf '%s' "$above" | sha256sum | cut -c1-32)
        [ -e "$made" ] || break
        [ ! -d "$above" ] || rmdir -- "$above" 2>/dev/null || break
        rm -f -- "$made"
        above=${above%/*}
    done
    printf 'removed\n'
fi
if [ -d "$directory" ]; then sync -- "$directory"; fi
rm -rf -- "$entry"
