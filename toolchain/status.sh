# shellcheck shell=bash
# What `./run` says when it is given nothing to run. It makes nothing.

# line STATE NAME DETAIL
line() { printf '  %-9s %-22s %s\n' "$@"; }

package_line() {
    local -a missing
    mapfile -t missing < <(missing_packages "$1")
    if [ ${#missing[@]} = 0 ]; then
        line there "$2" "all $(grep -c '^[a-z]' "$1")"
    else
        line missing "$2" "${missing[*]}"
    fi
}

show_toolchain() {
    package_line "$ROOT/toolchain/debian-packages.txt" 'Debian packages'
    package_line "$ROOT/toolchain/debian-packages-test.txt" 'for the tests'
    venv_directory >/dev/null
    if venv_is_whole "$VENV"; then
        line there 'Python packages' "$(<"$VENV/complete"), $(grep -c '^[a-zA-Z].*==' "$ROOT/requirements.lock") packages"
    else
        line missing 'Python packages' 'half a minute to install'
    fi
    toolchain_directory >/dev/null
    if toolchain_is_whole; then
        line there 'Pulumi, libvirt plugin' "$PULUMI_VERSION from $(dirname "$(readlink -f "$TOOLCHAIN/bin/pulumi")")"
    else
        line missing 'Pulumi, libvirt plugin' 'seconds to fetch, up to 15 minutes to build'
    fi
    show_go
    show_image
    if libvirt_runs; then line there libvirtd running; else line missing libvirtd 'not running'; fi
}

# A Go that would have to fetch another one first counts as missing: nothing is fetched here.
show_go() {
    local directory
    if directory=$(GOTOOLCHAIN=local find_go); then
        line there Go "$directory"
    elif [ -e "$LIBVIRT_PART" ]; then
        line '' Go 'none, and the libvirt plugin is built already'
    else
        line missing Go "$(least_go) or newer, to build the libvirt plugin; fetched from go.dev where that can be reached"
    fi
}

# Which image is the present recipe's, Python alone knows.
show_image() {
    local directory time='one to two minutes to build, with the first machine'
    if ! venv_is_whole "$VENV"; then
        line '' 'machine image' "looked for once the Python packages are there; $time"
    elif directory=$(cd "$ROOT" && "$VENV/bin/python" -B -m images.build --look 2>/dev/null); then
        line there 'machine image' "$directory"
    else
        line missing 'machine image' "$time"
    fi
}

show_state() {
    choose_backend_quietly
    line '' 'Pulumi state' "$(backend_name)"
    if [ -n "${PULUMI_CONFIG_PASSPHRASE+set}${PULUMI_CONFIG_PASSPHRASE_FILE:+set}" ]; then
        line '' 'its passphrase' 'from your environment'
    elif [ -s "$STATE/passphrase" ]; then
        line '' 'its passphrase' "$STATE/passphrase"
    else
        line '' 'its passphrase' 'made with the first stack'
    fi
}

# The backend that choose_backend would choose, and no directory made for it.
choose_backend_quietly() {
    PULUMI_BACKEND_URL=${PULUMI_BACKEND_URL:-$(logged_in_to)}
    [ -n "$PULUMI_BACKEND_URL" ] || [ -n "${PULUMI_ACCESS_TOKEN-}" ] || PULUMI_BACKEND_URL=file://$STATE/state
}

show_status() {
    printf 'Understudy: a stage that mirrors production. ./run COMMAND makes what is missing, then runs COMMAND.\n\n'
    show_toolchain
    show_state
    cat <<'TEXT'

  ./run pulumi up -s stage          build the stage and fill it from the newest good backup
  ./run pulumi preview -s stage     what the next `up` would change; with --refresh --diff also what was changed by hand
  ./run pulumi destroy -s stage     remove it, and all that it made
  ./run understudy --help           adopt, change, drill, evidence, inventory, mirror, packages, place, probe, seed, ssh, …
  ./run pytest -m 'not vm'          the tests that take seconds: no machine is booted, no server walked through its faults
  ./run true                        only make what is missing
TEXT
    [ "$EUID" = 0 ] || printf '\nYou are not root. What makes or changes machines needs it: sudo ./run …, from the first time on.\n'
}
