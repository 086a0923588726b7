# Writes standard input to a file so that readers see the old content or the new, never a part.
# Arguments: PATH MODE OWNER GROUP SHA256 MARK UNIQUE; MARK begins the names of this path's temporary directories.
# Each process that it starts costs a machine without hardware virtualisation tens of milliseconds.
set -euo pipefail
path=$1 mode=$2 owner=$3 group=$4 digest=$5 mark=$6 unique=$7
directory=${path%/*}/
temporary=$directory$mark.$unique
new=$temporary/${path##*/}
if [ -d "$path" ] && [ ! -L "$path" ]; then
    echo "$path is a directory" >&2
    exit 73
fi

# What a killed call left; one that still runs somehow fails from here on, since its directory is gone.
for left in "$directory$mark".*; do
    if [ -e "$left" ]; then rm -rf -- "$left"; fi
done

if [ ! -d "$directory" ]; then (umask 022 && mkdir -p -- "$directory"); fi
umask 077
mkdir -- "$temporary"
trap 'rm -rf -- "$temporary"' EXIT
install --mode="$mode" --owner="$owner" --group="$group" -- /dev/stdin "$new"
found=$(sha256sum <"$new")
if [ "${found%% *}" != "$digest" ]; then
    echo "the content did not arrive whole" >&2
    exit 74
fi
sync -- "$new"
mv -fT -- "$new" "$path"
rmdir -- "$temporary"
trap - EXIT
sync -- "$directory"
