"""The text that copies what is there before anything is touched, with a manifest that a person can read. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from provisioners.commands import word, words

_FIRST = """\
# What was there before the first change of all is remembered once.
mkdir -p ../original/files; cp back-out.sh ../original/; echo open >../original/state
touch {../original/,first-}{manifest,units,packages}
for list in manifest units packages; do
    [ -s $list ] || continue
    awk -F'\\t' 'FILENAME == ARGV[1] { had[$1]; next } !($1 in had)' ../original/$list $list >first-$list
done
while IFS=$'\\t' read -r path kind _; do
    case $kind in file | link) (cd files; cp -a --parents -- ".$path" ../../original/files/) ;; esac
done <first-manifest
for list in manifest units packages; do
    [ -s first-$list ] || continue
    cat ../original/$list first-$list >../original/new; mv -T ../original/new ../original/$list
done
rm first-*"""

_COPY = """\
    if [ -L "$path" ]; then
        (cd /; cp -a --parents -- "$path" "$OLDPWD/files/")
        printf '%s\\tlink\\t-\\t-\\t-\\t%q\\n' "$path" "$(readlink -- "$path")"
    elif [ -f "$path" ]; then
        (cd /; cp -a --parents -- "$path" "$OLDPWD/files/")
        sum=$(sha256sum <"$path")
        printf '%s\\tfile\\t%s\\t%s\\n' "$path" "$(stat --printf='%a\\t%U:%G' -- "$path")" "${sum%% *}"
    elif [ -e "$path" ]; then
        echo "$path is neither a file nor a link" >&2; exit 1
    else
        printf '%s\\tabsent\\n' "$path"
        while path=${path%/*}; [ -n "$path" ] && [ ! -e "$path" ]; do printf '%s\\tnodir\\n' "$path"; done
    fi
done >manifest.new"""


_STATE = """\
state() { shown=$(systemctl show --property=LoadState,UnitFileState,ActiveState -- "$1")
    enabled=$(sed -n 's/^UnitFileState=//p' <<<"$shown"); active=$(sed -n 's/^ActiveState=//p' <<<"$shown")
    [[ $shown != *LoadState=not-found* ]] || enabled=none
    [ -n "$active" ] || { echo "systemd does not say whether $1 runs" >&2; exit 1; }
    printf '%s\\t%s\\t%s\\t%s\\n' "$1" "${enabled:--}" "$active" "$2"; }"""

_VERSION = """\
version() { shown=$(dpkg-query -Wf '${db:Status-Status} ${Version}' -- "$1" 2>/dev/null) || [ $? = 1 ]
    case $shown in "installed "*) shown=${shown#* } ;; *) shown=- ;; esac; printf '%s\\t%s\\n' "$1" "$shown"; }"""


def copying(paths: Sequence[str], units: Sequence[tuple[str, str]], packages: Sequence[str]) -> tuple[str, ...]:
    """Return the lines that copy what is there, with its manifest.

    GNU cp 9.1, which is Debian 12's, ends with 1 for ``-a --parents`` of an absolute path anywhere but in ``/``.

    Args:
        paths: of the files that will change.
        units: those that will be told something, each with what takes an old file back: ``restart``,
            ``try-reload-or-restart``, or ``start`` where no file matters to it.
        packages: those that will change.
    """
    states = (f"state {word(unit)} {verb}" for unit, verb in units)
    versions = (f"version {word(name)}" for name in packages)
    return (
        f"for path in {words(paths)}; do" if paths else "for path in; do",
        _COPY,
        _STATE,
        _VERSION,
        "{ :", *states, "} >units",
        "{ :", *versions, "} >packages",
        "sync -f manifest.new; mv -T manifest.new manifest",
        _FIRST,
        "echo 'path, what it is, mode, owner, digest, target of a link:'; cat manifest",
    )  # fmt: skip
