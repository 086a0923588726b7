# shellcheck shell=bash
# Go builds the libvirt plugin, which nobody serves built, and Pulumi where its official release cannot be had.

GO_VERSION=1.26.8 # fetched where there is none; any from least_go on will do
# Source: https://go.dev/dl, which shows the SHA-256 of each file.
declare -A GO_DIGESTS=(
    [amd64]=d0f743b33e8d8945e6b1f432edd15785c70507121d6e2a723b21285eddf8b57b
    [arm64]=211ffced9dcb9633a55eac6364816ec0ddd951389a740e88fa8b3337971bdda0
)
GO_INSTALLED=/usr/local/go # where go.dev's own instructions put it; sudo's PATH does not lead there

# The oldest Go that can build our modules: each says it in its go.mod.
least_go() { sed -nE 's/^go ([0-9.]+)$/\1/p' "$ROOT"/plugins/*/go.mod | sort -V | tail -n 1; }

# at_least VERSION LEAST
at_least() { [[ $1 =~ ^[0-9.]+$ ]] && [ "$(printf '%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

go_part() { printf '%s/parts/go-%s\n' "$CACHE" "$GO_VERSION"; }

# The name of the official release for this machine, and its digest.
go_archive() {
    local machine
    case $(uname -m) in x86_64) machine=amd64 ;; aarch64) machine=arm64 ;; *) return 1 ;; esac
    printf 'go%s.linux-%s.tar.gz %s\n' "$GO_VERSION" "$machine" "${GO_DIGESTS[$machine]}"
}

# The directory of the first Go that is new enough. Asked beside go.mod: from 1.21 on, an older Go fetches the one that is
# wanted there by itself, unless GOTOOLCHAIN=local forbids it.
find_go() {
    local program version
    for program in "$(type -P go)" "$GO_INSTALLED/bin/go" "$(go_part)/bin/go"; do
        [ -x "$program" ] || continue
        version=$(cd "$ROOT/plugins/libvirt" && "$program" env GOVERSION 2>/dev/null 9>&-)
        at_least "${version#go}" "$(least_go)" && printf '%s\n' "${program%/*}" && return
    done
    return 1
}

have_go() {
    local directory
    directory=$(find_go) || return
    PATH=$directory:$PATH
}

# Comes before anything is installed: what cannot be built in the end needs no beginning.
require_go_early() {
    toolchain_directory >/dev/null
    toolchain_is_whole || [ -e "$LIBVIRT_PART" ] || require_go 'the libvirt plugin'
}

# require_go WHAT: for building it.
require_go() { have_go || get_go "$1"; }

# The official release, else Debian's, else what to do.
get_go() {
    local debian least
    least=$(least_go)
    is_there curl || ! can_be_root || install_packages 'fetching Go' curl ca-certificates
    take_lock
    [ -e "$(go_part)" ] || fetch_go || true
    release_lock
    have_go && return
    debian=$(LC_ALL=C apt-cache policy golang-go 2>/dev/null | sed -nE 's/^ *Candidate: ([0-9]+:)?([0-9.]+).*/\2/p')
    if at_least "$debian" "$least" && can_be_root; then
        install_packages "building $1" golang-go
        have_go && return
    fi
    explain_go "$1" "$least" "${debian:-none}"
}

explain_go() {
    local name digest
    read -r name digest < <(go_archive) || fail "building $1 needs Go $2 or newer; install it, then the same command again"
    fail "building $1 needs Go $2 or newer, and there is none here" \
        "go.dev could not be reached, and Debian's golang-go (here: $3) is too old or needs root. Nothing was built." \
        "Get https://go.dev/dl/$name on a computer that can" \
        "(its SHA-256 is $digest)," \
        "bring it here and type, as root, then the same command again:" \
        "rm -rf /usr/local/go && tar -C /usr/local -xzf $name"
}

# Without internet this ends in seconds, and says nothing.
fetch_go() {
    local name digest unfinished
    read -r name digest < <(go_archive) || return
    is_there curl || return
    local -a get=(curl --silent --fail --location --connect-timeout 3)
    "${get[@]}" --max-time 20 --head -o /dev/null "https://go.dev/dl/$name" 9>&- || return
    say "fetching Go $GO_VERSION, 65 MB"
    mkdir -p "$CACHE/parts"
    unfinished=$(mktemp -d "$CACHE/parts/.unfinished-XXXXXX")
    if "${get[@]}" --speed-time 20 --speed-limit 10000 -o "$unfinished/$name" "https://go.dev/dl/$name" 9>&- &&
        has_digest "$unfinished/$name" "$digest" && mkdir "$unfinished/whole" &&
        tar -xzf "$unfinished/$name" -C "$unfinished/whole" --strip-components=1; then
        mv -T "$unfinished/whole" "$(go_part)"
    fi
    rm -rf "$unfinished"
}

has_digest() {
    printf '%s  %s\n' "$2" "$1" | sha256sum --check --status && return
    say "${1##*/} does not have the digest that is written down in toolchain/go.sh; it is not used"
    return 1
}
