# shellcheck shell=bash
# Who types ./run. Virtual machines, networks, firewall rules and mounts are root's to make, so root types it, or somebody
# with sudo. What is kept from one call to the next is then root's as well, however root was reached: in root's own
# home, also where sudo was told to leave HOME as it was (so that the keys and known_hosts there are used).

# The home of a user, by name or number.
home_of() { getent passwd "$1" | cut -d: -f6; }

OWN_HOME=$HOME
if [ "$EUID" = 0 ] && [ "$(stat -c %u "$HOME" 2>/dev/null)" != 0 ]; then
    OWN_HOME=$(home_of 0)
fi
CACHE=${XDG_CACHE_HOME:-$OWN_HOME/.cache}/understudy
STATE=${XDG_STATE_HOME:-$OWN_HOME/.local/state}/understudy

# Nothing of root's is written into somebody else's home. Git reads the project's folder also where it is not root's: what
# stands in it is run by root at this moment anyway.
# Source: git-config(1), safe.directory, which counts in the command's scope too.
keep_from_other_home() {
    if [ "$OWN_HOME" != "$HOME" ]; then
        export XDG_CACHE_HOME=${CACHE%/understudy} XDG_STATE_HOME=${STATE%/understudy}
        export PULUMI_HOME=${PULUMI_HOME:-$OWN_HOME/.pulumi}
    fi
    if [ "$EUID" = 0 ] && [ "$(stat -c %u "$ROOT")" != 0 ] && [ -z "${GIT_CONFIG_COUNT-}" ]; then
        export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0=$ROOT
    fi
}

# Refuses what only root can do, before anything is made for it.
refuse_without_root() {
    [ "$EUID" != 0 ] && [ "${1##*/}" = pulumi ] || return 0
    case $ASKED_OPTIONS in *' --help '* | *' -h '* | *' -C '* | *' --cwd '*) return 0 ;; esac
    local verb=$ASKED_VERB line
    case $verb in up | refresh | destroy | import) ;; *) return 0 ;; esac
    line=$(printf '%q ' "$@")
    fail "pulumi $verb makes and changes virtual machines, networks and firewall rules: that needs root; nothing was made" \
        "Type: sudo ./run ${line% }" \
        "The state, its passphrase and all that is built once are then root's: type sudo before each ./run from then on." \
        "To use your own SSH keys and known_hosts: sudo --preserve-env=HOME,SSH_AUTH_SOCK ./run ${line% }"
}
