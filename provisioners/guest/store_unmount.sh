# Takes away what was brought into a directory. Arguments: DIRECTORY
set -euo pipefail
if mountpoint --quiet -- "$1"; then umount -- "$1"; fi
rm -rf -- "$1"
