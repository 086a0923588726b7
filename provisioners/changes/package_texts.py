"""The steps about packages: brought as files with their digests, installed without any network, taken back. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from model.change import Step
from model.connection import Connection
from provisioners.changes.observed import CONFIGS
from provisioners.changes.parts import Parts
from provisioners.changes.texts import Change, fenced
from provisioners.commands import command_line, privileged, word, words

PACKAGES = f"{CONFIGS}/.packages"
"""On each machine: the files of the packages that we installed there, so that an earlier one can come back."""
SECONDS = 1800
"""No installation takes longer; on a machine without hardware virtualisation some take minutes."""


def package_path(name: str, version: str) -> str:
    """Return where the file of a package lies on a machine.

    >>> package_path("cron", "1:3.0")
    '/root/configs/.packages/cron_1%3a3.0.deb'
    """
    return f"{PACKAGES}/{name}_{version.replace(':', '%3a')}.deb"


def bring(inputs: Mapping[str, Any], names: Sequence[str], at: Connection) -> tuple[Step, ...]:
    """Return the steps, done on the operator's computer, that bring the files of packages.

    The controller does the same over its own connection.
    """
    steps = []
    for name in names:
        package = inputs["packages"][name]
        path = package_path(name, package["version"])
        script = f"mkdir -p -m 0700 {CONFIGS} {PACKAGES} && cat >{word(path)}"
        there = command_line(privileged(("sh", "-c", script), sudo=at.sudo))
        way = ("-p", str(at.port), *(("-J", at.jump) if at.jump else ()), f"{at.user}@{at.address}")
        says = f"{name} {package['version']} is on {at.name}"
        command = f"ssh {words(way)} {word(there)} <{word(package['source'])} && echo {word(says)}"
        steps.append(Step(name=f"bring {name} {package['version']}", command=command, prints=says, place="controller"))
    return tuple(steps)


_REPACK = """\
# Where the file of the version that is there now is not at hand, it is made from what is installed.
repack() {
    made=$(mktemp -d); mkdir -m 0755 "$made/DEBIAN"; name=$1
    dpkg-query --listfiles -- "$name" | while IFS= read -r path; do
        # `/bin` may be a link here, and is a directory in the package.
        (umask 022; if [ -d "$path" ] && { [ ! -L "$path" ] || [[ ${path#/} != */* ]]; }; then mkdir -p -- "$made$path"
        elif [ -L "$path" ] || [ -f "$path" ]; then mkdir -p -- "$made${path%/*}"; cp -a -- "$path" "$made$path"; fi)
    done
    dpkg-query --control-list -- "$name" | while IFS= read -r part; do
        [ "$part" = md5sums ] || cp -- "$(dpkg-query --control-path -- "$name" "$part")" "$made/DEBIAN/$part"
    done
    dpkg-query --status -- "$name" | sed -e '/^Status: /d; /^Config-Version: /d' \\
        -e '/^Conffiles:/,/^[^ ]/{/^Conffiles:/d; /^ /d}' >"$made/DEBIAN/control"
    dpkg-query -Wf '${Conffiles}\\n' -- "$name" |
        sed -n 's/^ \\(\\/.*\\) [0-9a-f]\\{32\\}$/\\1/p' >"$made/DEBIAN/conffiles"
    chmod -R go+rX "$made/DEBIAN"; dpkg-deb --build "$made" "debs/$name.deb" >/dev/null; rm -r "$made"
}"""


def keeping_earlier(change: Change, names: Sequence[str]) -> tuple[Step, ...]:
    """Return the step that keeps the files of the versions that are there now.

    Source: dpkg-repack(1), which does the same and is not in Debian's base; dpkg-query(1).
    """
    if not names:
        return ()
    lines = (
        _REPACK,
        "mkdir -p debs ../original/debs",
        f"for name in {words(names)}; do",
        "    dpkg-query -Wf '${db:Status-Status}\\n' -- \"$name\" 2>/dev/null | grep -qxF installed || continue",
        "    version=$(dpkg-query -Wf '${Version}' -- \"$name\")",
        "    file=${name}_${version//:/%3a}",
        f'    for file in {PACKAGES}/"$file.deb" /var/cache/apt/archives/"$file"_*.deb; do',
        '        if [ -f "$file" ]; then cp -- "$file" "debs/$name.deb"; break; fi',
        "    done",
        '    [ -f "debs/$name.deb" ] || repack "$name"',
        '    [ -f "../original/debs/$name.deb" ] || cp -- "debs/$name.deb" ../original/debs/',
        "done",
    )
    says = f"{change.service}: done: keep the packages that are there"
    return (Step(name="keep the packages that are there", command=fenced(change, lines, says), prints=says, seconds=5),)


def installing(change: Change, inputs: Mapping[str, Any], changed: Parts) -> tuple[Step, ...]:
    """Return the step that installs packages, and notes how they leave the files that will change."""
    if not changed.install:
        return ()
    paths = {name: package_path(name, inputs["packages"][name]["version"]) for name in changed.install}
    sums = (f"{inputs['packages'][name]['sha256']}  {path}" for name, path in paths.items())
    install = (
        *("apt-get", "install", "--yes", "--no-remove", "--no-install-recommends", "--allow-downgrades"),
        # It knows of no other packages than these, so that none comes from a network.
        *_options("Dir::Etc::SourceList=/dev/null", "Dir::Etc::SourceParts=/dev/null", "APT::Sandbox::User=root"),
        *_options("DPkg::Lock::Timeout=120", "Dpkg::Options::=--force-confdef", "Dpkg::Options::=--force-confold"),
        *paths.values(),
    )
    lines = (
        "sha256sum --check --strict --quiet <<'END'",
        *sums,
        "END",
        f"DEBIAN_FRONTEND=noninteractive {command_line(install)} 9<&-",
        "rm -rf packaged; mkdir packaged",
        f"for path in {words(changed.touched)}; do" if changed.touched else "for path in; do",
        '    if [ -L "$path" ] || [ -f "$path" ]; then (cd /; cp -a --parents -- "$path" "$OLDPWD/packaged/"); fi',
        '    if [ -f "$path" ]; then echo "$(sha256sum <"$path" | cut -c1-64) $path"; fi',
        "done >>ours",
    )
    says = f"{change.service}: done: install {', '.join(changed.install)}"
    name = f"install {', '.join(changed.install)}"
    return (Step(name=name, command=fenced(change, lines, says), prints=says, seconds=30),)


def _options(*settings: str) -> tuple[str, ...]:
    return tuple(each for setting in settings for each in ("-o", setting))
