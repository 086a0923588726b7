#!/bin/sh
# Installed by Understudy, and removed with its last stack. Libvirt calls it before it starts a network or a machine: what
# belongs to one of Understudy's stacks starts only behind that stack's fence, also after a reboot of the host. And it calls it
# when they are there: where a stack is on several hosts, what carries its tunnels names the bridge.
case "$2/$3" in start/begin | prepare/begin | started/begin) ;; *) exit 0 ;; esac
xml=$(cat)
for rules in "${UNDERSTUDY_FENCES:-/var/lib/understudy/fences}"/*.nft; do
    [ -e "$rules" ] || exit 0
    table=$(basename "$rules" .nft)
    case "$xml" in *"'$table"[mc]*) ;; *) continue ;; esac
    if ! { nft list table bridge "$table" && nft list table inet "$table"; } >/dev/null 2>&1; then
        nft -f "$rules" || {
            echo "understudy: the fence $rules cannot be put in place, so $1 does not start" >&2
            exit 1
        }
    fi
    # Without its bridge, or the card to the other hosts, it cannot be loaded: then nothing passes between them.
    [ ! -e "${rules%.nft}.netdev" ] || nft -f "${rules%.nft}.netdev" 2>/dev/null || true
done
exit 0
