# Mounts a disk that was just attached, read only. Arguments: DEVICE DIRECTORY
set -euo pipefail
for _ in $(seq 300); do
    if [ -b "$1" ]; then exec mount -t ext4 -o ro,noload -- "$1" "$2"; fi
    sleep 0.1
done
echo "the disk $1 does not appear" >&2
exit 1
