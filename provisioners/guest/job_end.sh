# Ends a job if it still runs, and forgets it. Arguments: DIRECTORY NAME
set -euo pipefail
directory=$1 unit=understudy-job-$2.service
if [ -d /run/systemd/system ]; then
    systemctl stop -- "$unit" 2>/dev/null || true
elif [ -s "$directory/pid" ]; then
    pkill -KILL --session "$(cat -- "$directory/pid")" || true
fi
rm -rf -- "$directory"
