# Waits until a replica streams from its primary and has replayed all of what it was sent so far.
# Arguments: SECONDS UNIT PSQL…. Prints `streaming BYTES`, or what it does instead and ends with 1.
set -euo pipefail
cd / # psql says so where it may not look into root's home
seconds=$1 unit=$2
shift 2
query="SELECT CASE WHEN NOT pg_is_in_recovery() THEN 'it is no replica any more'
    ELSE coalesce((SELECT status || ' ' || greatest(0, pg_wal_lsn_diff(latest_end_lsn, pg_last_wal_replay_lsn()))
    FROM pg_stat_wal_receiver), 'no connection to the primary') END"
found='no answer'
while [ "$SECONDS" -le "$seconds" ]; do
    found=$(printf '%s\n' "$query" | "$@" 2>&1) || true
    case $found in
    "streaming 0" | "it is no replica any more") break ;;
    esac
    sleep 0.3
done
printf '%s\n' "$found"
case $found in
streaming\ *) exit 0 ;;
esac
journalctl --no-pager --lines=200 --output=cat --unit="$unit" 2>/dev/null | grep -E 'FATAL|ERROR|PANIC' | tail -n 4 >&2 || true
exit 1
