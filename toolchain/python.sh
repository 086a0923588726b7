# shellcheck shell=bash
# The virtual environment: exactly the files that requirements.lock lists, each checked against its digest.

VENV=

venv_directory() {
    [ -n "$VENV" ] || VENV=$CACHE/venv/$(digest_of requirements.lock)
    printf '%s\n' "$VENV"
}

# A virtual environment whose interpreter was removed by an upgrade of the system is made anew.
venv_is_whole() { [ -x "$1/bin/python" ] && [ -e "$1/complete" ] && [ -e "$1/packages.json" ]; }

require_venv() {
    venv_directory >/dev/null
    if ! venv_is_whole "$VENV"; then
        take_lock
        if ! venv_is_whole "$VENV"; then
            rm -rf "$VENV"
            make_whole "$VENV" fill_venv
        fi
        release_lock
    fi
    link_to .venv "$VENV"
}

# The first interpreter that works and is of a version that the lock file is made for.
find_python() {
    local name
    for name in python3.11 python3.12 python3.13 python3; do
        if "$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null; then
            printf '%s\n' "$name"
            return
        fi
    done
    fail 'no Python 3.11, 3.12 or 3.13 is on PATH' 'On Debian 12: apt-get install python3 python3-venv'
}

fill_venv() {
    local python
    python=$(find_python)
    if ! "$python" -c 'import ensurepip' 2>/dev/null; then
        install_packages 'the virtual environment' "$("$python" -c \
            'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"
    fi
    say "installing the Python packages of requirements.lock for $("$python" --version); about a minute"
    # --copies would outlive an upgrade of the interpreter and then fail in odd ways; a dangling link is seen.
    "$python" -m venv --symlinks "$1" &&
        "$1/bin/python" -m pip install --quiet --disable-pip-version-check --no-input --no-compile --no-deps \
            --require-hashes -r "$ROOT/requirements.lock" >&2 &&
        "$1/bin/python" -m pip list --disable-pip-version-check -v --format json >"$1/packages.json" &&
        relocate_scripts "$1" "$VENV" &&
        "$python" --version >"$1/complete"
}

# Scripts in bin name their interpreter by its path; the directory is about to be renamed.
relocate_scripts() {
    local -a scripts
    mapfile -t scripts < <(grep -lIF -- "$1" "$1"/bin/* "$1/pyvenv.cfg" "$1/packages.json" 2>/dev/null)
    sed -i "s|$1|$2|g" -- "${scripts[@]}"
}
