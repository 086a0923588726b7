# Prints how long a TCP connection to each of the others takes. Arguments: NAME ADDRESS PORT, for each. Where it took over
# two milliseconds, in which a name may have been looked up or an address asked for, it is tried again: the better counts.
set -u
better_of_two() {
    local began took best=
    for _ in 1 2; do
        began=${EPOCHREALTIME/./}
        exec 3<>"/dev/tcp/$1/$2" || exit
        took=$((${EPOCHREALTIME/./} - began))
        if [ -z "$best" ] || [ "$took" -lt "$best" ]; then best=$took; fi
        [ "$best" -gt 2000 ] || break
    done
    echo "$best"
}
# One process for each: what else is started here, or by the server there, takes time from all that is measured.
while [ $# -ge 3 ]; do
    exec 4< <(better_of_two "$2" "$3" 2>/dev/null)
    if read -r -t 3 took <&4; then echo "$1 ${took}000 ns"; else kill "$!" 2>/dev/null || true; echo "$1 no answer"; fi
    shift 3
done
