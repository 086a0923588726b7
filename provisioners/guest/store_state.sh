# Prints what is known of a store's places and its unit. Arguments: ROOT UNIT. A unit that is empty is none.
set -euo pipefail
root=$1 unit=$2
# SSH answers before all disks are mounted; without its disk, a store would look empty.
if [ -d /run/systemd/system ]; then
    awk -v root="$root/" '$1 !~ /^#/ && $2 != "/" && index(root, $2 "/") == 1 { print $2 }' /etc/fstab |
        while IFS= read -r mount; do
            systemctl start -- "$(systemd-escape --path --suffix=mount -- "$mount")"
            mountpoint --quiet -- "$mount" || { echo "$mount is not mounted" >&2 && exit 66; }
        done
fi
current=$(readlink -- "$root/current" 2>/dev/null || true)
printf 'current %s\n' "${current%%/*}"
for place in "$root"/*/; do
    place=${place%/}
    if [ ! -L "$place" ] && [ -e "$place/key" ]; then
        printf 'place %s\n' "${place##*/}"
        printf 'key %s\n' "$(cat -- "$place/key")"
        if [ -d "$place/data" ]; then printf 'data\n'; fi
        if [ -e "$place/seed.json" ]; then printf 'seed %s\n' "$(tr '\n' ' ' <"$place/seed.json")"; fi
    fi
done
directory=$root
while [ ! -d "$directory" ]; do directory=${directory%/*}/; directory=${directory%/}; [ -n "$directory" ] || directory=/; done
printf 'free %s\n' "$(df --output=avail --block-size=1 -- "$directory" | tail -n 1 | tr -d ' ')"
printf 'processors %s\n' "$(nproc)"
if [ -n "$unit" ]; then
    systemctl show --property=ActiveState,UnitFileState -- "$unit"
fi
