# Prints how long a TCP connection to each of the others takes. Arguments: NAME ADDRESS PORT, for each of them.
set -u
# shellcheck disable=SC2016 # the inner shell expands it
try='began=${EPOCHREALTIME/./}; exec 3<>"/dev/tcp/$1/$2" && echo $((${EPOCHREALTIME/./} - began))'
while [ $# -ge 3 ]; do
    best=
    for _ in 1 2 3; do
        took=$(timeout 2 bash -c "$try" try "$2" "$3" 2>/dev/null) || break
        if [ -z "$best" ] || [ "$took" -lt "$best" ]; then best=$took; fi
    done
    if [ -n "$best" ]; then echo "$1 ${best}000 ns"; else echo "$1 no answer"; fi
    shift 3
done
