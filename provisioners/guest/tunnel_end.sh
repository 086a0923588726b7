# Ends a tunnel for good, and networkd with it where nothing else needs it. Arguments: DEVICE UNIT PATH…, its files
set -euo pipefail
device=$1 unit=$2
shift 2
systemctl disable --quiet --now "$unit" 2>/dev/null || true
rm -f -- "$@"
systemctl daemon-reload
if [ -e "/sys/class/net/$device" ]; then ip link delete dev "$device"; fi
if ! systemctl is-enabled --quiet systemd-networkd.service; then
    systemctl stop systemd-networkd.socket systemd-networkd.service
fi
