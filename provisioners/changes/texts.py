"""The texts of a change's steps: what is typed into bash as root, and what the controller runs, from the same value.

Each step is one block in parentheses. A block that is pasted into a shell leaves that shell alone, also where it
fails, and reads nothing of what is pasted after it. It holds the change's lock, so that no back-out runs beside it, and
ends at once where the change is no longer open. In the end it prints one fixed line.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from provisioners.changes.observed import CONFIGS
from provisioners.changes.parts import Parts
from provisioners.commands import word, words


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A change of one service on one machine, as its steps name it."""

    service: str
    identifier: str

    @property
    def folder(self) -> str:
        """Return where the copies of all the service's changes are."""
        return f"{CONFIGS}/{self.service}"

    @property
    def open(self) -> str:
        """Return the link to the copies of the change that is open."""
        return f"{CONFIGS}/.open/{self.service}"

    @property
    def unit(self) -> str:
        """Return the name of the unit and of the timer that take it back."""
        return f"understudy-back-out-{self.service}"

    def beside(self, path: str) -> str:
        """Return where a file's new content lies before it takes its place.

        >>> Change(service="web", identifier="0123456789ab").beside("/etc/a.conf")
        '/etc/.understudy-web/a.conf'
        """
        return f"{self.beside_folder(path)}/{path.rpartition('/')[2]}"

    def beside_folder(self, path: str) -> str:
        """Return the folder of `beside`: in the same file system as the path, with a name that no service reads."""
        return f"{path.rpartition('/')[0]}/.understudy-{self.service}"

    @property
    def back_out(self) -> str:
        """Return the command that takes it back, now or at any time later."""
        return f'bash "$(ls -d {self.folder}/*Z-{self.identifier} | tail -n 1)/back-out.sh"'


def block(lines: Iterable[str], says: str, *, reads: bool = False) -> str:
    """Return a text that runs these lines, stops at the first that fails, and prints a line when all went well.

    Args:
        lines: of bash.
        says: what it prints.
        reads: whether it reads standard input.
    """
    end = ")" if reads else ") </dev/null"
    return "\n".join(("(set -euo pipefail; umask 077", *lines, f"echo {word(says)}", end))


def fenced(change: Change, lines: Iterable[str], says: str, *, secrets: Sequence[str] = (), last: bool = False) -> str:
    """Return a block that runs only while the change is open, and that starts the deadline anew when it went well.

    Args:
        change: the change.
        lines: of bash.
        says: what it prints.
        secrets: names of what it reads from standard input, a line each, into ``secret1``, ``secret2``, …
        last: whether the deadline matters no more.
    """
    asked = [
        f'IFS= read -rsp {word(f"{name}: ")} secret{count}; [ -n "$secret{count}" ]'
        for count, name in enumerate(secrets, start=1)
    ]
    fence = (
        f"exec 9<{change.open}/lock; flock 9; cd -P {change.open}",
        f"[[ $PWD == *-{change.identifier} ]] || {{ echo 'another change is open' >&2; exit 1; }}",
    )
    now = "read -r boot </proc/sys/kernel/random/boot_id; read -r up </proc/uptime"
    beat = () if last else (f'{now}; printf \'%s\\n\' "$boot" "$up" >beat',)
    return block((*asked, *fence, *lines, *beat), says, reads=bool(secrets))


def opening(change: Change) -> tuple[str, ...]:
    """Return the lines that begin a change; whoever comes second is refused.

    The directories' names tell which change is the newest. So a change is never of the last one's second, and where the
    machine's clock was put back it is of the second after that one's.
    """
    return (
        f"mkdir -p {CONFIGS}/.open {change.folder}",
        f"last=$(compgen -G '{change.folder}/[0-9]*Z-*' | tail -n 1 || true); last=${{last##*/}}; last=${{last%%-*}}",
        'now() { date -u +%Y%m%dT%H%M%SZ "$@"; }; change=$(now)',
        '[[ $change > $last ]] || change=$(now -d "${last:0:8} ${last:9:2}:${last:11:2}:${last:13:2} UTC + 1 second")',
        f"change={change.folder}/$change-{change.identifier}",
        'mkdir "$change" "$change/files"; : >"$change/lock"; echo open >"$change/state"',
        f'ln -sT "$change" {change.open} || {{ rm -r "$change"; exit 1; }}',
        'echo "what is there now is copied to $change"',
    )


def arming(change: Change, seconds: int) -> tuple[str, ...]:
    """Return the lines after which the machine takes the change back by itself: after a time, and after a reboot."""
    service, timer = (f"/etc/systemd/system/{change.unit}.{kind}" for kind in ("service", "timer"))
    return (
        f"echo {seconds} >deadline",
        f"cat >{service} <<'END'",
        "[Unit]",
        f"Description=Takes the change of {change.service} back, unless it was kept",
        "[Service]",
        "Type=oneshot",
        f"ExecStart=/bin/bash {change.open}/back-out.sh --deadline",
        "TimeoutStartSec=30min",
        "[Install]",
        "WantedBy=multi-user.target",
        "END",
        f"cat >{timer} <<'END'",
        "[Unit]",
        f"Description=When the change of {change.service} is taken back, unless it was kept",
        "[Timer]",
        f"OnActiveSec={seconds}s",
        "OnUnitInactiveSec=15s",
        "AccuracySec=1s",
        "[Install]",
        "WantedBy=timers.target",
        "END",
        reading_anew((f"{change.unit}.service", f"{change.unit}.timer")),
        f"systemctl enable --quiet --no-reload -- {change.unit}.service {change.unit}.timer",
        f"systemctl restart -- {change.unit}.timer",
        f"systemctl is-active --quiet -- {change.unit}.timer",
    )


def making(change: Change, path: str) -> tuple[str, ...]:
    """Return the lines that make the folder where a file's new content is to lie; one that is a link is refused."""
    folder, above = word(change.beside_folder(path)), word(path.rpartition("/")[0] or "/")
    return (
        f"if [ ! -d {above} ]; then (umask 022; mkdir -p {above}); fi",
        f"[ ! -L {folder} ] || {{ echo {folder} 'is a link' >&2; exit 1; }}",
        f"install -d -m 0711 {folder}; rm -f {word(change.beside(path))}",
    )


def whole_file(path: str, owner: str, group: str, mode: str) -> str:
    """Return the command that writes its standard input to a file with its owner and mode, in place of what is there.

    >>> whole_file("/etc/a b", "root", "adm", "0640")
    "install -T -o root -g adm -m 0640 /dev/stdin '/etc/a b'"
    """
    return f"install -T -o {word(owner)} -g {word(group)} -m {word(mode)} /dev/stdin {word(path)}"


_SAME = """\
same() {
    if [ -L "$2" ]; then [ -L "$1" ] && [ "$(readlink -- "$1")" = "$(readlink -- "$2")" ]
    elif [ -e "$2" ]; then
        [ ! -L "$1" ] && cmp -s -- "$2" "$1" && [ "$(stat -c '%a %u %g' -- "$1")" = "$(stat -c '%a %u %g' -- "$2")" ]
    else [ ! -e "$1" ] && [ ! -L "$1" ]; fi || { echo "$1 was changed by somebody else meanwhile" >&2; exit 1; }
}"""


def same_as_copied(paths: Sequence[str], copies: str = "files") -> tuple[str, ...]:
    """Return the lines that end where somebody changed one of these since it was copied."""
    return (_SAME, *(f"same {word(path)} {word(copies + path)}" for path in paths))


def placing(change: Change, laid: Sequence[str], removed: Sequence[str], copies: str) -> tuple[str, ...]:
    """Return the lines that put the new files in place, each at once, unless somebody changed one meanwhile.

    Args:
        change: the change.
        laid: paths whose new content lies beside them.
        removed: paths where nothing may be.
        copies: the folder of the copies that what is there must still equal.
    """
    every = sorted((*laid, *removed))
    folders = sorted({path.rpartition("/")[0] or "/" for path in every})
    return (
        *same_as_copied(every, copies),
        *(f"mv -fT -- {word(change.beside(path))} {word(path)}" for path in laid),
        *(f"rm -f -- {word(path)}" for path in removed),
        *(f"rmdir -- {word(folder)}" for folder in sorted({change.beside_folder(path) for path in laid})),
        f'for folder in {words(folders)}; do if [ -d "$folder" ]; then sync -- "$folder"; fi; done',
    )


_SETTLED = """\
log() { echo "$1 is $(systemctl is-active -- "$1")" >&2
    journalctl --no-pager --output=cat --lines=15 --unit="$1" >&2; exit 1; }
settled() { SECONDS=0
    while [[ $(systemctl is-active -- "$1") == *ing && $SECONDS -lt 90 ]]; do sleep 1; done
    case $(systemctl show --property=ActiveState,Result,Type -- "$1" | sort | tr '\\n' ' ') in
    "ActiveState=active "* | "ActiveState=inactive Result=success Type=oneshot "*) ;;
    *) log "$1" ;;
    esac; }"""


def reading_anew(units: Sequence[str]) -> str:
    """Return the line that has systemd read its units anew, where it holds old versions of these.

    To read all of them takes seconds on a slow machine, and what was never loaded is read when it is needed.
    """
    shown = f"systemctl show --property=NeedDaemonReload -- {words(units)}"
    return f"case $({shown}) in *=yes*) systemctl daemon-reload ;; esac"


def _enabling(unit: str) -> str:
    """Return the line that enables a unit; of one that is loaded systemd knows it only after reading all anew."""
    enable = f"-- {word(unit)}; then systemctl enable --quiet -- {word(unit)}"
    return f"if systemctl is-active --quiet {enable}; else systemctl enable --quiet --no-reload -- {word(unit)}; fi"


def telling(changed: Parts) -> tuple[str, ...]:
    """Return the lines that tell systemd about what changed; each unit must run in the end, and still a second later.

    Args:
        changed: what changed.
    """
    restart, reload = changed.restart, changed.reload
    anew = "systemctl daemon-reload" if changed.of_systemd else ""
    if changed.described and not anew:
        anew = reading_anew(changed.described)
    told = {"restart": restart, "try-reload-or-restart": reload}
    steady = (f"settled {word(unit)}" for unit in restart)
    return (
        _SETTLED,
        *((anew,) if anew else ()),
        *(f"systemctl disable --quiet --now -- {word(unit)}" for unit in changed.leave),
        *(_enabling(unit) for unit in changed.enable),
        *(f"systemctl {verb} -- {word(unit)} || log {word(unit)}" for verb, units in told.items() for unit in units),
        *(("sleep 1",) if restart else ()),
        *steady,
    )


def checking(command: Sequence[str], prints: str) -> tuple[str, ...]:
    """Return the lines that try a check for twenty seconds.

    Args:
        command: its words.
        prints: a line that it must print; empty where its exit code tells.
    """
    said = f' && grep -qxFe {word(prints)} <<<"$out"' if prints else ""
    return (
        "SECONDS=0",
        f"until out=$(timeout 20 {words(command)} 2>&1 9<&-){said}; do",
        "    [ $SECONDS -lt 20 ] || { printf '%s\\n' \"$out\" >&2; exit 1; }",
        "    sleep 1",
        "done",
        "printf '%s\\n' \"$out\"",
    )


def keeping(
    change: Change, given_up: Sequence[str], left: Sequence[str], digest: str = "", *, goes: bool = False
) -> tuple[str, ...]:
    """Return the lines that keep a change, and that prune the service's old copies.

    Of the copies of a service's changes, those are removed that are older than 400 days and not among its newest 20.
    What was there before the first change is never removed.

    Args:
        change: the change.
        given_up: paths that are no longer ours.
        left: units that are no longer ours.
        digest: the service's, as Git has it now.
        goes: whether the service is ours no more; what was there before us then lies with this change.
    """
    forgotten = tuple(
        f"awk -F'\\t' 'BEGIN {{ for (i = 2; i < ARGC; i++) {{ gone[ARGV[i]]; delete ARGV[i] }} }} !($1 in gone)'"
        f" ../original/{name} {words(gone)} >../original/new; mv -T ../original/new ../original/{name}"
        for name, gone in (("manifest", given_up), ("units", left))
        if gone
    )
    return (
        "[ \"$(<state)\" = open ] || { echo 'it was taken back meanwhile' >&2; exit 1; }",
        *(("[ -e original ] || mv -T ../original original",) if goes else ()),
        *((f"echo {word(digest)} >digest; sync digest",) if digest else ()),
        "echo kept >state.new; sync state.new; mv -T state.new state; sync .",
        *forgotten,
        *disarming(change),
        f"rm {change.open}",
        "old=(../[0-9]*Z-*/); limit=../$(date -u -d '400 days ago' +%Y%m%d)",
        'for ((at = 0; at < ${#old[@]} - 20; at++)); do [[ ${old[at]} > $limit ]] || rm -r -- "${old[at]}"; done',
    )


def disarming(change: Change) -> tuple[str, ...]:
    """Return the lines after which the machine no longer takes the change back by itself.

    systemd forgets units that are stopped and whose files are gone: to read all of its units anew, seconds on a slow
    machine, is left to the next change.
    """
    return (
        f"systemctl stop -- {change.unit}.timer",
        f"systemctl disable --quiet --no-reload -- {change.unit}.timer {change.unit}.service",
        f"rm -f /etc/systemd/system/{change.unit}.service /etc/systemd/system/{change.unit}.timer",
    )
