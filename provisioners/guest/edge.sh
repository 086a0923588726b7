# Runs this project's own program for hosts of virtual machines, which reads one request and prints lines of JSON.
# Arguments: PROGRAM. Ends with 44 where it is not there yet, and with 45 where its Python is missing or too old.
set -eu
export LC_ALL=C.UTF-8 PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
if ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    python3 --version >&2 || echo "no python3" >&2
    exit 45
fi
[ -e "$1" ] || exit 44
exec python3 -I -B "$1"
