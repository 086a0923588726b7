# shellcheck shell=bash
# What the other parts share: speaking, failing, digests, and making a directory so that it is whole or not there.

say() { printf 'run: %s\n' "$*" >&2; }

# Says what went wrong and what to do, one line for each argument, and ends.
fail() {
    printf 'run: %s\n' "$1" >&2
    shift
    [ $# = 0 ] || printf '     %s\n' "$@" >&2
    exit 1
}

# The first 12 digits of the digest of the named files' names (relative to the repository) and contents. A name may be a
# quoted pattern: it is of the repository's files, wherever ./run was called.
digest_of() {
    local digest
    # shellcheck disable=SC2068
    digest=$( (cd -- "$ROOT" && sha256sum -- $@) | sha256sum)
    printf '%s\n' "${digest:0:12}"
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    else
        sudo "$@"
    fi
}

# True where as_root works, or can ask the person at the terminal for a password.
can_be_root() {
    [ "$(id -u)" = 0 ] && return
    command -v sudo >/dev/null || return 1
    sudo -n true 2>/dev/null || { [ -t 0 ] && [ -t 2 ]; }
}

runs_systemd() { [ -d /run/systemd/system ]; }

# Only one ./run at a time makes things; the others wait here. Descriptor 9 holds the lock; what is started meanwhile
# and lives on (a daemon) must close it. Who holds it may take it once more: the last release lets it go.
LOCK_HOLDS=0

take_lock() {
    LOCK_HOLDS=$((LOCK_HOLDS + 1))
    [ $LOCK_HOLDS = 1 ] || return 0
    mkdir -p "$CACHE"
    exec 9>"$CACHE/lock"
    if ! flock --nonblock 9; then
        say "another ./run is making the toolchain; waiting for it"
        flock 9
    fi
}

release_lock() {
    LOCK_HOLDS=$((LOCK_HOLDS - 1))
    [ $LOCK_HOLDS != 0 ] || exec 9>&-
}

# make_whole DIRECTORY FUNCTION: calls FUNCTION with a new empty directory and renames that to DIRECTORY when it is
# done. What an earlier run that was cut off has left is swept: only the holder of the lock comes here.
make_whole() {
    local directory=$1 maker=$2 unfinished
    mkdir -p "$(dirname "$directory")"
    rm -rf "$(dirname "$directory")"/.unfinished-*
    unfinished=$(mktemp -d "$(dirname "$directory")/.unfinished-XXXXXX")
    chmod 0755 "$unfinished"
    "$maker" "$unfinished" || fail "stopped while making $directory" "Run the same command again: it goes on from there."
    mv -T "$unfinished" "$directory"
}

# Points the link $ROOT/$1 at directory $2, in one step, so that nobody ever finds it missing.
link_to() {
    [ "$(readlink "$ROOT/$1" 2>/dev/null)" = "$2" ] && return
    ln -sfn "$2" "$ROOT/$1.$$" && mv -T "$ROOT/$1.$$" "$ROOT/$1"
}
