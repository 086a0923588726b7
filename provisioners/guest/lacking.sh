# Prints those of its arguments, names or paths of programs, that the machine does not have.
set -eu
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
for program in "$@"; do
    command -v -- "$program" >/dev/null 2>&1 || printf '%s\n' "$program"
done
