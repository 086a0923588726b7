# Ends a change of SERVICE that nobody works on any more: takes it back unless it was kept. Arguments: SERVICE
# Prints what the change's own script prints, or `backed out` where nothing had been touched yet.
set -euo pipefail
open=/root/configs/.open/$1
if [ -e "$open/back-out.sh" ]; then
    exec bash "$open/back-out.sh" --left-over
fi
rm -f -- "$open"
echo 'backed out'
