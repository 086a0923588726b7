# shellcheck shell=bash
# Where Pulumi's state lies, its passphrase, and what comes before `pulumi up`.
#
# The encryption salt. Pulumi keeps it in the state and, when it finds none there, writes it into Pulumi.<stack>.yaml
# too (and rewrites that file's values on the way). That file is in Git and is the description of an environment; a
# salt in it would tie everybody who clones the repository to one person's passphrase. So a stack is created away from
# the file, the commands that only need to read it are given a copy (--config-file), and Pulumi is told to take the
# salt from the state. `pulumi config set --secret` still writes the salt into the file: a secret that is in Git needs
# it there, and from then on the passphrase has to be handed from person to person.

BACKEND_MARK=

# Each way of naming a backend that Pulumi itself has comes before ours.
choose_backend() {
    export PULUMI_FALLBACK_TO_STATE_SECRETS_MANAGER=true
    [ -n "${PULUMI_BACKEND_URL-}" ] && return
    PULUMI_BACKEND_URL=$(logged_in_to)
    if [ -z "$PULUMI_BACKEND_URL" ]; then
        if [ -n "${PULUMI_ACCESS_TOKEN-}" ]; then
            unset PULUMI_BACKEND_URL
            return
        fi
        (umask 077 && mkdir -p "$STATE/state")
        PULUMI_BACKEND_URL=file://$STATE/state
        [ "$EUID" = 0 ] || say "this is $(id -un)'s own state: what \`sudo ./run\` builds is in root's"
    fi
    export PULUMI_BACKEND_URL
}

# The backend that `pulumi login` remembers, or nothing.
logged_in_to() {
    local file=${PULUMI_CREDENTIALS_PATH:-${PULUMI_HOME:-$HOME/.pulumi}}/credentials.json
    [ ! -e "$file" ] || tr -d '\n' <"$file" | sed -nE 's/.*"current": *"([^"]*)".*/\1/p'
}

backend_name() { printf '%s\n' "${PULUMI_BACKEND_URL:-"Pulumi's service"}"; }

# The directory of a file backend, or nothing for the others.
backend_directory() {
    local url=${PULUMI_BACKEND_URL-}
    case $url in file://*) ;; *) return 0 ;; esac
    url=${url#file://} url=${url%%\?*}
    [[ $url =~ ^~(/|$) ]] && url=$HOME${url#?}
    printf '%s/.pulumi\n' "${url%/}"
}

stack_file() { printf '%s/Pulumi.%s.yaml\n' "$ROOT" "$1"; }

# The file of stack $1's state in a file backend.
state_file() { printf '%s/stacks/%s/%s.json\n' "$(backend_directory)" "$(project)" "$1"; }

# True where there is a packed state instead, or beside it (PULUMI_SELF_MANAGED_STATE_GZIP).
is_packed() { [ -e "$1.gz" ] || [ -e "$1.zst" ]; }

# True where the stack's file, or its state, was made with a passphrase. Pulumi, which is asked for a state that is no plain
# file of this computer's, exports it without one.
has_salt() {
    local file exported
    ! grep -qs '^encryptionsalt:' "$(stack_file "$1")" || return 0
    file=$(state_file "$1")
    if [ -n "$(backend_directory)" ] && ! is_packed "$file"; then
        grep -qs '"salt"' "$file"
        return
    fi
    exported=$(cd "$ROOT" && pulumi stack export -s "$1" --non-interactive 2>&1 8>&-) || case $? in
    6) return 1 ;; # no such stack. Source: pulumi, sdk/go/common/util/cmdutil/exit.go
    *) fail "cannot find out whether stack $1 exists in $(backend_name)" "$exported" \
        "No passphrase was made: one that exists needs its own. Mend what Pulumi says, or set PULUMI_CONFIG_PASSPHRASE_FILE." ;;
    esac
    [[ $exported == *'"salt"'* ]]
}

project() {
    local line
    while IFS= read -r line; do
        if [[ $line =~ ^name:\ *\"?([A-Za-z0-9_.-]+) ]]; then printf '%s\n' "${BASH_REMATCH[1]}"; fi
    done <"$ROOT/Pulumi.yaml"
}

# choose_passphrase STACK: the user's own, else the one that we keep, else a new one where nothing needs an old one.
choose_passphrase() {
    local file=$STATE/passphrase
    [ -z "${PULUMI_CONFIG_PASSPHRASE+set}${PULUMI_CONFIG_PASSPHRASE_FILE:+set}" ] || return 0
    case ${PULUMI_BACKEND_URL:-https} in http*) return 0 ;; esac # Pulumi's service keeps the keys itself
    if [ ! -s "$file" ]; then
        if [ -n "$1" ] && has_salt "$1"; then
            explain_lost_passphrase "$1" "$file"
        fi
        [ -n "$1" ] || return 0
        make_passphrase "$file"
    fi
    export PULUMI_CONFIG_PASSPHRASE_FILE=$file
}

make_passphrase() {
    head -c 32 /dev/urandom | base64 | write_new "$1"
    say "made a passphrase for the secrets in Pulumi's state: $1 (keep a copy: without it they cannot be read)"
}

# write_new FILE: standard input, whole or not at all, and never over what another ./run has just written there.
write_new() {
    (umask 077 && mkdir -p "$(dirname -- "$1")" && cat >"$1.$$" && ln "$1.$$" "$1" 2>/dev/null)
    rm -f "$1.$$"
    [ -s "$1" ] || fail "cannot write $1"
}

explain_lost_passphrase() {
    fail "the passphrase file $2 is missing, and stack $1 has secrets that only its passphrase opens" \
        "Nothing was changed, and no new passphrase was made: a new one would open nothing." \
        "- Put the file back from a copy (mode 0600), or set PULUMI_CONFIG_PASSPHRASE or PULUMI_CONFIG_PASSPHRASE_FILE." \
        "- If somebody else created this stack, ask them for its passphrase." \
        "- If it is lost for good and the stack is only a stage: remove the stage's machines by hand (virsh), then" \
        "  its state with: pulumi stack rm --force -s $1, and an 'encryptionsalt:' line in Pulumi.$1.yaml; then begin anew."
}

# What `./run pulumi …` does before and with Pulumi.
run_pulumi() {
    local stack=$ASKED_STACK verb=$ASKED_VERB
    case $verb in '' | help | login | logout | version) exec "$@" ;; esac
    case $ASKED_OPTIONS in *' -h '* | *' --help '*) exec "$@" ;; esac
    choose_backend
    # Pulumi and its plugins tidy their memory a quarter as often, but for more than this: it is most of what they do first.
    export GOGC=${GOGC:-400} GOMEMLIMIT=${GOMEMLIMIT:-1GiB}
    case $ASKED_OPTIONS in *' -C '* | *' --cwd '*) exec "$@" ;; esac # another project, perhaps another passphrase
    case $verb in
    up | preview | refresh | destroy | import) ;;
    *) choose_passphrase "$stack" && exec "$@" ;;
    esac
    cd "$ROOT" || return
    [ -n "$stack" ] || stack=$(pulumi stack --show-name 2>/dev/null) ||
        fail "pulumi $verb: for which stack?" "Name it: ./run pulumi $verb -s stage"
    stack=${stack##*/}
    check_first "$verb" "$stack"
    choose_passphrase "$stack"
    begin "$verb" "$stack"
    case $ASKED_OPTIONS in
    *' -c '* | *' --config'*) ;; # -c saves into the file: it has to be the real one
    *) set -- "$@" --config-file "$(copy_of_configuration "$stack")" ;;
    esac
    # The lock is let go when the stack is prepared: from then on the note with this process's id stands for it.
    [ ! -e "$ROOT/cli/pulumi.py" ] ||
        exec python -m cli pulumi --stack "$stack" --verb "$verb" $BUSY --lock 8 -- "$@"
    exec 8>&-
    exec "$@"
}

# check_first VERB STACK: what describes a new stack has no faults, or nothing is made for it. That of an old one is looked
# at with the rest.
check_first() {
    case $1 in up | preview) ;; *) return 0 ;; esac
    stack_exists "$2" || [ ! -e "$ROOT/cli/preflight.py" ] || (cd "$ROOT" && python -m cli preflight --stack "$2" >/dev/null) ||
        exit
}

# begin VERB STACK: one at a time for each stack, as long as descriptor 8 is open. BUSY is set where somebody changes it.
begin() {
    local verb=$1 stack=$2 owner
    BUSY='' BACKEND_MARK=$(backend_mark)
    export UNDERSTUDY_PLAN
    UNDERSTUDY_PLAN=$STATE/running/$(stack_mark "$stack").plan.json
    (umask 077 && mkdir -p "$STATE/running")
    exec 8>"$STATE/running/$(stack_mark "$stack").lock"
    flock --nonblock 8 || { say "another ./run is preparing stack $stack; waiting for it" && flock 8; }
    create_stack "$stack"
    clear_dead_locks "$stack"
    owner=$(who_works_on "$stack")
    if [ -z "$owner" ]; then
        [ "$verb" = preview ] || note_process "$stack"
        rm -f "$UNDERSTUDY_PLAN"
    elif [ "$verb" = preview ]; then
        say "$owner is changing stack $stack at this moment: the preview may be out of date soon"
        BUSY=--busy
    else
        fail "stack $stack is being changed by $owner" "Two at once would spoil each other. Wait for it to end, or end it." \
            "If it is on another computer and surely dead: ./run pulumi cancel -s $stack"
    fi
}

# A short name for one stack of one backend.
stack_mark() { printf '%s-%s\n' "$1" "${BACKEND_MARK:-$(backend_mark)}"; }

backend_mark() {
    local digest
    digest=$(printf '%s' "${PULUMI_BACKEND_URL-}" | sha256sum)
    printf '%s\n' "${digest:0:8}"
}

# In a file backend, looking is enough; for others Pulumi is asked.
stack_exists() {
    local file
    if [ -n "$(backend_directory)" ]; then
        file=$(state_file "$1")
        [ -e "$file" ] || is_packed "$file"
    else
        pulumi stack --show-name -s "$1" >/dev/null 2>&1 8>&-
    fi
}

# What a stack makes carries a mark with a digest of where its state is. That place is called the same on each computer,
# and two may rent in one account, or use one host: so a new place gets an id, which is a part of the digest.
give_state_an_id() {
    set -- "$STATE/state/understudy-id" # beside Pulumi's own folder: whoever moves the one moves the other
    [ "${PULUMI_BACKEND_URL-}" = "file://$STATE/state" ] && [ ! -e "$1" ] && [ ! -e "$STATE/state/.pulumi" ] || return 0
    head -c 8 /dev/urandom | od -An -tx1 | tr -d ' ' | write_new "$1"
}

# The stack is made in an empty directory: see above.
create_stack() {
    local workspace output
    ! stack_exists "$1" || return 0
    give_state_an_id
    workspace=$(mktemp -d)
    printf 'name: %s\nruntime: python\n' "$(project)" >"$workspace/Pulumi.yaml"
    if grep -s '^encryptionsalt:' "$(stack_file "$1")" >"$workspace/Pulumi.$1.yaml"; then :; else rm "$workspace/Pulumi.$1.yaml"; fi
    if output=$(pulumi -C "$workspace" stack init "$1" --no-select --non-interactive 2>&1 8>&-); then
        say "created the stack $1 in $(backend_name)"
        rm -rf "$workspace"
    else
        rm -rf "$workspace"
        fail "cannot create the stack $1 in $(backend_name)" "$output"
    fi
}

# Written anew each time, so that an edit is seen; renamed, so that another run never reads half a file.
copy_of_configuration() {
    local copy
    copy=$STATE/running/$(stack_mark "$1").yaml
    cat "$(stack_file "$1")" >"$copy.$$" 2>/dev/null || printf 'config: {}\n' >"$copy.$$"
    mv -T "$copy.$$" "$copy"
    printf '%s\n' "$copy"
}
