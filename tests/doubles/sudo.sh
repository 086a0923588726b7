#!/usr/bin/bash-as-root -p
# Stands for sudo where the tests have none: notes that it was asked the way that never asks for a password.
[ "$1" = -n ] && [ "$2" = -- ] || exit 99
shift 2
echo "$*" | head -c 60 >>/tmp/sudo-calls
exec setpriv --reuid=0 --regid=0 --clear-groups -- "$@"
