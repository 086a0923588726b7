# Prints the changes that this machine has copies of, a line each: service, directory, state, separated by tabs.
set -euo pipefail
for change in /root/configs/*/[0-9]*Z-*/; do
    if [ ! -e "$change/state" ]; then continue; fi
    service=${change#/root/configs/}
    printf '%s\t%s\t%s\n' "${service%%/*}" "${change%/}" "$(cat -- "$change/state")"
done
