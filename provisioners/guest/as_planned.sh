# Compares what is on this machine with what a change was planned for, which standard input says, a line each.
# Arguments: for each path `digest` or `about` and the path, `--`, then packages. Reads only.
# Prints `as planned`; else what differs, as diff does: `<` is there now, `>` was there then.
set -euo pipefail
now() {
    open=$(ls -A /root/configs/.open 2>/dev/null) || true
    printf "open changes: %s\n" "${open:-none}"
    while [ "$1" != -- ]; do
        if [ -L "$2" ]; then
            printf "%s link %s\n" "$2" "$(readlink -n -- "$2" | sha256sum | cut -c1-64)"
        elif [ -f "$2" ]; then
            printf "%s file %s" "$2" "$(stat --format="%a %U:%G" -- "$2")"
            if [ "$1" = digest ]; then printf " %s" "$(sha256sum <"$2" | cut -c1-64)"; fi
            printf "\n"
        elif [ -e "$2" ]; then
            printf "%s other\n" "$2"
        else
            printf "%s absent\n" "$2"
        fi
        shift 2
    done
    shift
    for name in "$@"; do
        shown=$(dpkg-query -Wf "\${db:Status-Status} \${Version}" -- "$name" 2>/dev/null) || true
        case $shown in "installed "*) shown=${shown#* } ;; *) shown=- ;; esac
        printf "package %s %s\n" "$name" "$shown"
    done
}
exec 3<&0
now "$@" | LC_ALL=C diff - /dev/fd/3 && echo "as planned"
