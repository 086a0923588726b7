# shellcheck shell=bash
# Who works on a stack. Pulumi's file backend has a lock file for each update, which a killed Pulumi leaves behind, and
# then refuses every later one. A lock of this computer is cleared when its process is gone or is another program now.

# The lock files of stack $1 in a file backend.
lock_files() {
    local directory
    directory=$(backend_directory)
    [ -z "$directory" ] || compgen -G "$directory/locks/organization/$(project)/$1/*.json" || true
}

# field NAME FILE: one string or number of a small JSON file.
field() { tr -d '\n' <"$2" 2>/dev/null | sed -nE "s/.*\"$1\": *\"?([^\",}]*)\"?.*/\1/p"; }

# The boot-relative start time of a process: with the id it names one process for good. The command's name, in brackets
# before it, may hold spaces. Nothing of one that has ended and only waits for its parent to notice (state Z).
start_of() { sed -nE 's/.*\) ([^ZX] .*)/\1/p' 2>/dev/null <"/proc/$1/stat" | cut -d' ' -f20; }

is_pulumi() { [ "$(cat "/proc/$1/comm" 2>/dev/null)" = pulumi ] && [ -n "$(start_of "$1")" ]; }

clear_dead_locks() {
    local file pid
    while read -r file; do
        pid=$(field pid "$file")
        if [ "$(field hostname "$file")" != "$(hostname)" ] || ! [[ $pid =~ ^[0-9]+$ ]] || is_pulumi "$pid"; then
            continue
        fi
        rm -f "$file" "$file.attrs"
        say "cleared the lock of a pulumi that has ended (process $pid) on stack $1"
    done < <(lock_files "$1")
}

# note_process STACK: this process works on the stack; the id stays the same when it becomes what runs Pulumi.
note_process() { printf '%s %s\n' $$ "$(start_of $$)" >"$STATE/running/$(stack_mark "$1").pid"; }

# One line that says who changes stack $1 now, or nothing. Call clear_dead_locks first.
who_works_on() {
    local pid start file
    if read -r pid start 2>/dev/null <"$STATE/running/$(stack_mark "$1").pid" && [ "$(start_of "$pid")" = "$start" ]; then
        printf 'process %s (./run pulumi)\n' "$pid"
        return
    fi
    while read -r file; do
        printf 'process %s of %s on %s since %s\n' "$(field pid "$file")" "$(field username "$file")" \
            "$(field hostname "$file")" "$(field timestamp "$file")"
        return
    done < <(lock_files "$1")
}
