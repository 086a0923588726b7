# Runs one command after another as standard input tells, until it ends; one that did not arrive whole is not run.
# Each is a line `SECONDS MARK INPUT LENGTH...`, then its words of these lengths in bytes, then the INPUT bytes that it
# gets as its own standard input. After each, both outputs get a line's end and a line: `MARK CODE`, and `MARK`.
set -u
while read -r seconds mark input lengths; do
    argv=() given=
    for length in $lengths; do
        LC_ALL=C IFS= read -r -N "$length" word || exit
        argv+=("$word")
    done
    if [ "$input" -gt 0 ]; then
        LC_ALL=C IFS= read -r -N "$input" given || exit
        printf %s "$given" | timeout --kill-after=10 "$seconds" "${argv[@]}"
        code=${PIPESTATUS[1]}
    else
        timeout --kill-after=10 "$seconds" "${argv[@]}" </dev/null
        code=$?
    fi
    printf '\n%s %d\n' "$mark" "$code"
    printf '\n%s\n' "$mark" >&2
done
