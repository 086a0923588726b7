# Prints how long a TCP connection to each of the others takes, the better of two. Arguments: NAME ADDRESS PORT, for each.
set -u
# shellcheck disable=SC2016 # the inner shell expands it
try='best=
for _ in 1 2; do
    began=${EPOCHREALTIME/./}
    exec 3<>"/dev/tcp/$1/$2" || exit
    took=$((${EPOCHREALTIME/./} - began))
    if [ -z "$best" ] || [ "$took" -lt "$best" ]; then best=$took; fi
done
echo "$best"'
while [ $# -ge 3 ]; do
    took=$(timeout 3 bash -c "$try" try "$2" "$3" 2>/dev/null)
    if [ -n "$took" ]; then echo "$1 ${took}000 ns"; else echo "$1 no answer"; fi
    shift 3
done
