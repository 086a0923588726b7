# Begins the tunnel whose files were written, now and at each boot; or begins it anew. Arguments: DEVICE UNIT
set -euo pipefail
device=$1 unit=$2
if ! modprobe wireguard || [ ! -x /lib/systemd/systemd-networkd ]; then
    echo "the machine has no WireGuard in its kernel, or no systemd-networkd" >&2
    exit 69
fi
chgrp systemd-network "/etc/systemd/network/$device.key"
chmod 0640 "/etc/systemd/network/$device.key"
systemctl daemon-reload
systemctl enable --quiet "$unit"
# A device that is there already is not changed by networkd.
if [ -e "/sys/class/net/$device" ]; then ip link delete dev "$device"; fi
systemctl restart systemd-networkd.service
if ! systemctl restart "$unit"; then
    journalctl --quiet --unit=systemd-networkd --unit="$unit" --lines=4 --output=cat >&2
    exit 70
fi
