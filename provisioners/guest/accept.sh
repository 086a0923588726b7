# Moves a received file to its place if it is whole. Arguments: PART PATH MODE OWNER GROUP SHA256 [VALIDATE…]
set -euo pipefail
part=$1 path=$2 mode=$3 owner=$4 group=$5 digest=$6
shift 6
found=$(sha256sum <"$part")
if [ "${found%% *}" != "$digest" ]; then
    echo "the content did not arrive whole" >&2
    exit 74
fi
chown -- "$owner:$group" "$part"
chmod -- "$mode" "$part"
if [ $# -gt 0 ]; then
    "${@//'{}'/"$part"}" </dev/null >&2
fi
sync -- "$part"
mv -fT -- "$part" "$path"
sync -- "${path%/*}/"
