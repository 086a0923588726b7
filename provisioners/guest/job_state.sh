# Prints a job's state: `absent`, or its key and then `running`, `died` or `code N`. Arguments: DIRECTORY [WAIT]
# With WAIT, a job that ends right now is given that many tenths of a second to write its code.
set -euo pipefail
directory=$1 wait=${2:-0}
if [ ! -e "$directory/key" ]; then
    echo absent
    exit 0
fi
cat -- "$directory/key"
echo
while [ ! -e "$directory/code" ]; do
    # After a restart of the machine the number may be another process's.
    if [ "$(cat /proc/sys/kernel/random/boot_id)" = "$(cat -- "$directory/boot")" ] && [ -s "$directory/pid" ] && kill -0 "$(cat -- "$directory/pid")" 2>/dev/null; then
        if [ "$wait" -le 0 ]; then
            echo running
            exit 0
        fi
    elif [ ! -e "$directory/code" ]; then
        echo died
        exit 0
    fi
    wait=$((wait - 1))
    sleep 0.1
done
echo "code $(cat -- "$directory/code")"
