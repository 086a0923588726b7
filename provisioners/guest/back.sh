# Puts back what was at PATH before us. Arguments: PATH KEEP. Prints `restored`, `removed` or `unknown`.
set -euo pipefail
path=$1 keep=$2
directory=${path%/*}/ base=${path##*/}
entry=$keep/$(printf '%s' "$path" | sha256sum | cut -c1-32)
if [ ! -d "$entry" ]; then
    # Nothing of ours is known here: whoever imported it had it before, so it stays.
    printf 'unknown\n'
    exit 0
fi
if [ -e "$entry/original" ] || [ -L "$entry/original" ]; then
    mkdir -p -- "$directory"
    mark=$(printf '%s' "$base" | sha256sum)
    mark=.understudy.${mark:0:8}
    rm -rf -- "$directory$mark".??????
    temporary=$(mktemp -d "$directory$mark.XXXXXX")
    trap 'rm -rf -- "$temporary"' EXIT
    cp -a --no-dereference -- "$entry/original" "$temporary/$base"
    [ -L "$temporary/$base" ] || sync -- "$temporary/$base"
    mv -fT -- "$temporary/$base" "$path"
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
