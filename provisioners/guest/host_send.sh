# Sends zeros to another host that takes them, piece by piece, and prints how many were taken in what time. Arguments:
# ADDRESS PORT BYTES-A-PIECE PIECES SECONDS. The word that the other expects comes on standard input, and goes first.
set -u
# shellcheck disable=SC2016 # the inner shell expands it
send='exec 3<>"/dev/tcp/$1/$2" && cat >&3 || exit
began=${EPOCHREALTIME/./} taken=0
while [ "$taken" -lt "$4" ] && head -c "$3" /dev/zero >&3 2>/dev/null && read -r -t 5 _ <&3; do
    taken=$((taken + 1)) spent=$((${EPOCHREALTIME/./} - began))
    [ "$spent" -lt "$5"000000 ] || break
done
[ "$taken" = 0 ] || echo "took $((taken * $3)) bytes ${spent}000 ns"'
timeout "$(($5 + 5))" bash -c "$send" send "$@"
