# Makes a place for data, and removes those that are named after it. Arguments: ROOT ACCOUNT ID KEY [OLD…]
set -euo pipefail
root=$1 account=$2 id=$3 key=$4
shift 4
remove() {
    # A server that a killed call left running has its working directory there.
    local process
    for process in $(find /proc/[0-9]*/cwd -maxdepth 0 -lname "$root/$1/*" 2>/dev/null | cut -d/ -f3); do
        kill -KILL "$process" 2>/dev/null || true
    done
    if mountpoint --quiet -- "$root/$1/repository"; then umount -- "$root/$1/repository"; fi
    rm -rf -- "${root:?}/$1"
}
for old in "$@"; do remove "$old"; done
if [ -z "$id" ]; then exit 0; fi
id -u -- "$account" >/dev/null
(umask 022 && mkdir -p -- "$root")
# With its key it is known, so that it is cleared away whatever becomes of this.
trap '[ -e "$root/$id/key" ] || rm -rf -- "${root:?}/$id"' EXIT
mkdir -p -m 0751 -- "$root/$id"
printf '%s' "$key" >"$root/$id/key.new"
sync -- "$root/$id/key.new"
mv -- "$root/$id/key.new" "$root/$id/key"
mkdir -p -m 0700 -- "$root/$id/data"
mkdir -p -m 0755 -- "$root/$id/repository"
chown -- "$account:" "$root/$id/data"
chown -- "root:$(stat -c %g -- "$root/$id/data")" "$root/$id"
