# Sets a unit and prints its state. Arguments: UNIT enable|disable|as-is restart|start|stop PROPERTIES
# Ends with systemctl's own code. What is so already is left alone: each reload of systemd takes a second on a slow machine.
set -euo pipefail
unit=$1 able=$2 act=$3 properties=$4
if [ "$(systemctl show --property=NeedDaemonReload --value -- "$unit")" = yes ]; then
    systemctl daemon-reload
fi
is=$(systemctl is-enabled -- "$unit" 2>/dev/null || true)
case $able:$is in
as-is:* | enable:enabled | enable:static | enable:alias | enable:indirect | enable:generated) ;;
disable:disabled | disable:static | disable:indirect | disable:generated | disable:not-found | disable:masked) ;;
*) systemctl "$able" --quiet -- "$unit" ;;
esac
code=0
systemctl "$act" -- "$unit" || code=$?
systemctl show "--property=$properties" -- "$unit"
exit "$code"
