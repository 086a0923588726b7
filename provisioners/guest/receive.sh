# Writes standard input to a file that `accept.sh` will then check and move. Arguments: PART
set -euo pipefail
umask 077
mkdir -p -- "${1%/*}/"
rm -f -- "$1"
cat >"$1"
