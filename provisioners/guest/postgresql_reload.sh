# Makes a server take up its new configuration, by a restart where it needs one. Arguments: UNIT PSQL…
set -euo pipefail
unit=$1
shift
systemctl reload -- "$unit"
pending() { printf '%s\n' 'SELECT count(*) FROM pg_settings WHERE pending_restart;' | "$@"; }
# The server reads its files a moment after it was told to.
for _ in 1 2 3 4 5; do
    if [ "$(pending "$@")" != 0 ]; then
        systemctl restart -- "$unit"
        exit 0
    fi
    sleep 0.2
done
