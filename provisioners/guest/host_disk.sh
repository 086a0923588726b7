# Measures what the disk under DIRECTORY does: writes MEBIBYTES there past the host's memory, reads them back, and leaves
# nothing. Neither takes longer than SECONDS. Where the disk cannot be written past memory, it is written and flushed.
set -u
directory=$1 mebibytes=$2 seconds=$3
end_nanoseconds() { now=$(date +%s%N); echo "$1 $2 bytes $((now - began)) ns"; }
file=$(mktemp --tmpdir="$directory" .understudy-probe.XXXXXXXX) || exit
trap 'rm -f -- "$file"' EXIT
trap 'exit 143' HUP INT TERM
# Random, because some disks are quick with zeros; a mebibyte of it, because making it takes longer than writing it.
mebibyte=$(mktemp) || exit
trap 'rm -f -- "$file" "$mebibyte"' EXIT
head -c 1048576 /dev/urandom >"$mebibyte"
direct=oflag=direct
dd if="$mebibyte" of="$file" bs=1M conv=notrunc "$direct" 2>/dev/null || direct=oflag=dsync
began=$(date +%s%N) written=0
while [ "$written" -lt "$mebibytes" ] && [ $(($(date +%s%N) - began)) -lt "${seconds}000000000" ]; do
    for _ in 1 2 3 4 5 6 7 8; do cat "$mebibyte"; done |
        dd of="$file" bs=1M iflag=fullblock seek="$written" conv=notrunc,fsync "$direct" 2>/dev/null || exit
    written=$((written + 8))
done
end_nanoseconds write $((written * 1048576))
[ "$direct" = oflag=direct ] || exit 0
began=$(date +%s%N) read=0
while [ "$read" -lt "$written" ] && [ $(($(date +%s%N) - began)) -lt "${seconds}000000000" ]; do
    dd if="$file" of=/dev/null bs=1M skip="$read" count=8 iflag=direct 2>/dev/null || exit 0
    read=$((read + 8))
done
end_nanoseconds read $((read * 1048576))
