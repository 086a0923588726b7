# Starts a guest that has nothing but a kernel, and prints how long that kernel takes to look for its init; leaves nothing.
# Arguments: SECONDS at most, the KERNEL's path (- for one on standard input), and the emulator's command line, in which
# `kernel` and `console` are files of the directory where it runs.
set -u
seconds=$1 kernel=$2
shift 2
directory=$(mktemp -d) || exit
guest=
trap '[ -z "$guest" ] || kill -KILL "$guest" 2>/dev/null; rm -rf -- "$directory"' EXIT
trap 'exit 143' HUP INT TERM
cd "$directory" || exit
if [ "$kernel" = - ]; then cat >kernel; else ln -s -- "$kernel" kernel; fi
for program in "$1" qemu-kvm /usr/libexec/qemu-kvm; do
    command -v "$program" >/dev/null && break
    program=
done
[ -n "$program" ] || { echo "$1 is missing" >&2 && exit 127; }
shift
began=${EPOCHREALTIME/./}
"$program" "$@" </dev/null >/dev/null 2>&1 &
guest=$!
exec 9<> <(:) # nothing ever comes from there: a wait that starts no process, so that looking takes nothing from the guest
while [ $((${EPOCHREALTIME/./} - began)) -lt "${seconds}000000" ] && kill -0 "$guest" 2>/dev/null; do
    if [ -e console ] && mapfile -t lines <console && [[ ${lines[*]} == *'Kernel panic'* ]]; then
        echo "started $((${EPOCHREALTIME/./} - began))000 ns"
        exit
    fi
    read -r -t 0.05 -u 9 || true
done
echo 'not started'
