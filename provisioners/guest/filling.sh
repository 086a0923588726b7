# What the scripts that fill a store share; it is put before each of them. What they print is told in `postgresql_fill`.
phase() { printf '@phase\t%s\t%s\n' "$1" "$EPOCHREALTIME"; }
fact() { printf '@fact\t%s\t%s\n' "$1" "$2"; }
die() {
    echo "$1" >&2
    exit 1
}
# Shows how much of a file a command has read from its standard input.
reading() {
    local file=$1 size at
    shift
    size=$(stat -Lc %s -- "$file")
    "$@" <"$file" &
    local reader=$!
    while kill -0 "$reader" 2>/dev/null; do
        at=$(sed -n 's/^pos:[[:space:]]*//p' "/proc/$reader/fdinfo/0" 2>/dev/null || true)
        if [ -n "$at" ] && [ "$size" -gt 0 ]; then printf '@percent\t%s\n' "$((at * 100 / size))" >&3; fi
        sleep 0.2
    done
    wait "$reader"
    printf '@percent\t100\n' >&3
}
