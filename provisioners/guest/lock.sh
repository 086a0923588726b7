# Holds the machine for one controller as long as that one sends a line now and then.
# Arguments: FILE HOLDER SECONDS. Prints `held`, or `busy HOLDER` and ends with 75.
set -euo pipefail
exec 9<>"$1"
if ! flock -n 9; then
    printf 'busy %s\n' "$(head -c 400 -- "$1" | tr '\n' ' ')"
    exit 75
fi
printf '%s\n' "$2" >"$1"
printf 'held\n'
while IFS= read -r -t "$3" _; do :; done
: >"$1"
