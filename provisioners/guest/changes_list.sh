# Prints the changes that this machine has copies of, a line each, separated by tabs: service, directory, state, and the
# digest of what Git had then, where it is known.
set -euo pipefail
for change in /root/configs/*/[0-9]*Z-*/; do
    if [ ! -e "$change/state" ]; then continue; fi
    service=${change#/root/configs/}
    digest=
    if [ -r "$change/digest" ]; then read -r digest <"$change/digest" || true; fi
    printf '%s\t%s\t%s\t%s\n' "${service%%/*}" "${change%/}" "$(cat -- "$change/state")" "$digest"
done
