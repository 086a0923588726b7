# Unmounts, and forgets at boot. Arguments: MOUNT
set -euo pipefail
if mountpoint --quiet -- "$1"; then umount -- "$1"; fi
awk -v mount="$1" '$2 != mount' /etc/fstab >/etc/fstab.understudy
chmod 0644 /etc/fstab.understudy
sync -- /etc/fstab.understudy
mv -fT -- /etc/fstab.understudy /etc/fstab
