# Prints what is at PATH: a line with its type, and for a file also mode, owner, group, uid, gid and size, then at most
# LIMIT bytes of content. Arguments: PATH LIMIT
set -euo pipefail
if [ -L "$1" ]; then
    printf 'link\n'
    readlink -- "$1"
elif [ -f "$1" ]; then
    stat --format='file %a %U %G %u %g %s' -- "$1"
    head -c "$2" -- "$1"
elif [ -e "$1" ]; then
    stat --format='%F' -- "$1"
elif [ -x "${1%/*}/" ] || [ ! -e "${1%/*}/" ]; then
    printf 'absent\n'
else
    echo "$1: its directory cannot be read" >&2
    exit 13
fi
