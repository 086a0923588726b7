# Writes standard input to a file so that readers see the old content or the new, never a part.
# Arguments: PATH MODE OWNER GROUP SHA256 KEEP [VALIDATE…]; KEEP is a directory for what was there before us, or empty.
set -euo pipefail
path=$1 mode=$2 owner=$3 group=$4 digest=$5 keep=$6
shift 6
directory=${path%/*}/ base=${path##*/}
mark=$(printf '%s' "$base" | sha256sum)
mark=.understudy.${mark:0:8}

if [ -d "$path" ] && [ ! -L "$path" ]; then
    echo "$path is a directory" >&2
    exit 73
fi

# What a killed call left; one that still runs somehow fails from here on, since its directory is gone.
rm -rf -- "$directory$mark".??????

if [ -n "$keep" ]; then
    entry=$keep/$(printf '%s' "$path" | sha256sum | cut -c1-32)
    (umask 077 && mkdir -p -- "$keep")
    missing=${directory%/}
    while [ -n "$missing" ] && [ ! -d "$missing" ]; do
        : >"$keep/made-$(printf '%s' "$missing" | sha256sum | cut -c1-32)"
        missing=${missing%/*}
    done
    rm -rf -- "$entry".new.??????
    if [ ! -e "$entry" ]; then
        fresh=$(mktemp -d "$entry.new.XXXXXX")
        printf '%s' "$path" >"$fresh/path"
        if [ -e "$path" ] || [ -L "$path" ]; then
            cp -a --no-dereference -- "$path" "$fresh/original"
        fi
        find "$fresh" -type f -exec sync -- {} +
        mv -T -- "$fresh" "$entry"
        sync -- "$keep"
    fi
fi

(umask 022 && mkdir -p -- "$directory")
umask 077
temporary=$(mktemp -d "$directory$mark.XXXXXX")
trap 'rm -rf -- "$temporary"' EXIT
new=$temporary/$base
cat >"$new"
found=$(sha256sum <"$new")
if [ "${found%% *}" != "$digest" ]; then
    echo "the content did not arrive whole" >&2
    exit 74
fi
chown -- "$owner:$group" "$new"
chmod -- "$mode" "$new"
if [ $# -gt 0 ]; then
    chmod 0711 -- "$temporary"
    "${@//'{}'/"$new"}" </dev/null >&2
fi
sync -- "$new"
mv -fT -- "$new" "$path"
sync -- "$directory"
