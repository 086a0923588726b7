# Starts a long command that outlives this connection, or finds it again. Arguments: DIRECTORY NAME KEY STDIN COMMAND…
# Standard input: the environment, as KEY=VALUE with a zero byte after each. Prints `started`, `running`, `done CODE`.
set -euo pipefail
directory=$1 name=$2 key=$3 input=$4
shift 4
unit=understudy-job-$name.service
with_systemd() { [ -d /run/systemd/system ]; }
alive() {
    if with_systemd; then
        systemctl is-active --quiet -- "$unit" || [ "$(systemctl show --property=ActiveState --value -- "$unit")" = deactivating ]
    else
        [ -s "$directory/pid" ] && pgrep --session "$(cat -- "$directory/pid")" >/dev/null
    fi
}
stop() {
    if with_systemd; then
        systemctl stop -- "$unit" 2>/dev/null || true
    elif [ -s "$directory/pid" ]; then
        pkill -KILL --session "$(cat -- "$directory/pid")" || true
    fi
    while alive; do sleep 0.1; done
}
if [ "$(cat -- "$directory/key" 2>/dev/null)" = "$key" ]; then
    if [ "$(cat -- "$directory/code" 2>/dev/null)" = 0 ]; then
        echo "done 0"
        exit 0
    fi
    # The process is there and has not said how it ended; its code appears before it is gone.
    if [ -s "$directory/pid" ] && kill -0 "$(cat -- "$directory/pid")" 2>/dev/null && alive && [ ! -e "$directory/code" ]; then
        echo running
        exit 0
    fi
fi
stop
rm -rf -- "$directory"
umask 077
mkdir -p -- "$directory"
cat >"$directory/environment"
: >"$directory/output"
cp -- /proc/sys/kernel/random/boot_id "$directory/boot"
printf '%s' "$key" >"$directory/key"
# In files, not as arguments: systemd would expand what looks like a variable in them.
printf '%s\0' "$@" >"$directory/command"
cat >"$directory/body" <<'BODY'
directory=$1 input=$2
printf '%s' "$$" >"$directory/pid.new" && mv -- "$directory/pid.new" "$directory/pid"
while IFS= read -r -d '' pair; do export "$pair"; done <"$directory/environment"
rm -f -- "$directory/environment"
mapfile -d '' -t command <"$directory/command"
code=0
"${command[@]}" <"$input" >"$directory/output" 2>&1 || code=$?
printf '%s' "$code" >"$directory/code.new"
sync -- "$directory/code.new"
mv -- "$directory/code.new" "$directory/code"
BODY
if with_systemd; then
    systemd-run --quiet --collect --unit="$unit" --description="Understudy: $name" -- \
        bash "$directory/body" "$directory" "$input"
else
    setsid --fork bash "$directory/body" "$directory" "$input" </dev/null >/dev/null 2>&1
fi
for _ in $(seq 100); do
    [ -s "$directory/pid" ] && break
    sleep 0.1
done
echo started
