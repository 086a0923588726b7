# Puts another place in use; where the unit does not start with it, the old one is in use again.
# Arguments: ROOT ID UNIT. Standard input: the place's seed.json. A unit that is empty is none.
set -euo pipefail
root=$1 id=$2 unit=$3
cat >"$root/$id/seed.json.new"
sync -- "$root/$id/seed.json.new"
mv -- "$root/$id/seed.json.new" "$root/$id/seed.json"
old=$(readlink -- "$root/current" 2>/dev/null || true)
point() {
    rm -f -- "$root/current.new"
    ln -s -- "$1" "$root/current.new"
    mv -T -- "$root/current.new" "$root/current"
    sync -- "$root"
}
if [ -n "$unit" ]; then systemctl stop -- "$unit"; fi
point "$id/data"
if [ -z "$unit" ] || systemctl start -- "$unit"; then exit 0; fi
journalctl --no-pager --lines=20 --output=cat --unit="$unit" >&2 || true
systemctl stop -- "$unit" || true
rm -f -- "$root/$id/seed.json"
if [ -n "$old" ]; then
    point "$old"
    systemctl start -- "$unit" && echo "the old data serves again" >&2
else
    rm -f -- "$root/current"
fi
exit 1
