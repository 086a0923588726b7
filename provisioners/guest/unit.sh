# Sets a unit and prints its state. Arguments: UNIT enable|disable restart|start|stop PROPERTIES
# Ends with systemctl's own code. What is so already is left alone: a reload of systemd takes a second on a slow machine.
set -euo pipefail
unit=$1 able=$2 act=$3 properties=$4
is=$(systemctl show --property=NeedDaemonReload,UnitFileState -- "$unit")
case $is in *NeedDaemonReload=yes*) systemctl daemon-reload ;; esac
is=${is##*UnitFileState=}
is=${is%%$'\n'*}
case $able:$is in
enable:enabled | enable:static | enable:alias | enable:indirect | enable:generated | enable:transient) ;;
disable:disabled | disable:static | disable:indirect | disable:generated | disable:transient | disable:masked | disable:) ;;
*) systemctl "$able" --quiet -- "$unit" ;;
esac
code=0
systemctl "$act" -- "$unit" || code=$?
systemctl show "--property=$properties" -- "$unit"
exit "$code"
