# Makes an ext4 file system on an empty disk, and mounts it now and at each boot. Where the disk has become bigger, the
# file system takes all of it, while it is in use. Arguments: DEVICE LABEL MOUNT MEBIBYTES, 0 where nobody says it
set -euo pipefail
device=$1 label=$2 mount=$3 mebibytes=$4
# That a disk was plugged in is seen a moment later.
for _ in {1..20}; do
    [ -b "$device" ] && break
    sleep 0.5
done
if [ ! -b "$device" ]; then
    echo "there is no disk $device" >&2
    exit 66
fi
# `blkid --probe` reads the disk itself: 0 something is there, 2 nothing, anything else could not be told.
code=0
found=$(blkid --probe --output export -- "$device") || code=$?
if [ "$code" = 2 ]; then
    # No signature is not yet empty: the beginning must be zeros, too, unless we were cut off while making it.
    begun=/var/lib/understudy-guest/mkfs-${device//\//_}
    if [ ! -e "$begun" ] && ! cmp --silent --bytes=1048576 -- "$device" /dev/zero; then
        echo "it has no file system that blkid knows, but it is not empty" >&2
        exit 65
    fi
    mkdir -p -- "${begun%/*}"
    : >"$begun"
    sync -- "$begun" "${begun%/*}"
    mkfs.ext4 -q -F -L "$label" -- "$device"
    sync -- "$device"
    rm -f -- "$begun"
elif [ "$code" != 0 ]; then
    echo "blkid cannot tell what is on it (code $code)" >&2
    exit 65
elif ! grep -qx "TYPE=ext4" <<<"$found" || ! grep -qx "LABEL=$label" <<<"$found"; then
    echo "it holds: $(grep -E '^(TYPE|LABEL|PTTYPE)=' <<<"$found" | tr '\n' ' ')" >&2
    exit 65
fi
mkdir -p -- "$mount"
line="LABEL=$label $mount ext4 defaults,nofail 0 2"
if ! grep -qxF -- "$line" /etc/fstab; then
    awk -v mount="$mount" '$2 != mount' /etc/fstab >/etc/fstab.understudy
    printf '%s\n' "$line" >>/etc/fstab.understudy
    chmod 0644 /etc/fstab.understudy
    sync -- /etc/fstab.understudy
    mv -fT -- /etc/fstab.understudy /etc/fstab
fi
# A machine that is just booting mounts it by itself, or first looks at it with fsck: then ours fails, and is tried again.
for _ in 1 2 3 4 5 6 7 8 9 last; do
    mountpoint --quiet -- "$mount" && break
    said=$(mount -t ext4 -- "$device" "$mount" 2>&1) && break
    sleep 1
done
if ! mountpoint --quiet -- "$mount"; then
    echo "$said" >&2
    exit 32
elif [ "$(findmnt --noheadings --output=LABEL --mountpoint "$mount")" != "$label" ]; then
    echo "something else is mounted at $mount" >&2
    exit 65
fi
if [ "$mebibytes" -gt 0 ]; then
    # So is that it was made bigger.
    for _ in {1..60}; do
        there=$(blockdev --getsize64 "$device")
        [ $((there >> 20)) -ge "$mebibytes" ] && break
        sleep 1
    done
    if [ $((there >> 20)) -lt "$mebibytes" ]; then
        echo "the disk has $((there >> 20)) MiB, and not $mebibytes" >&2
        exit 66
    fi
    resize2fs "$device" >/dev/null
fi
