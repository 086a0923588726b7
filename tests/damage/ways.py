"""Ways to damage a backup repository. Each works on a copy of the sample."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from model.snapshot import Flaw

STANZA = "shop"


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way to damage a repository.

    Args:
        name: what it does.
        damage: does it, to the repository at a path, for the snapshot of a label.
        names: what the error must say, besides the file that is concerned.
        flaw: what is wrong, in kind; None where it only shows when the data is restored.
    """

    name: str
    damage: Callable[[Path, str], None]
    names: tuple[str, ...]
    flaw: Flaw | None


def backups(repository: Path) -> Path:
    """Return the directory of the stanza's backups."""
    return repository / "backup" / STANZA


def archive(repository: Path) -> Path:
    """Return the directory of the stanza's WAL."""
    return repository / "archive" / STANZA


def flip(path: Path, at: float = 0.5) -> None:
    """Flip the bits of one byte of a file, at a part of its length."""
    content = bytearray(path.read_bytes())
    content[int(len(content) * at)] ^= 0xFF
    path.write_bytes(content)


def largest_bundle(repository: Path, label: str) -> Path:
    """Return the largest file of the full backup that a snapshot builds on."""
    return max(
        (backups(repository) / label.partition("_")[0] / "bundle").iterdir(), key=lambda path: path.stat().st_size
    )


def cut_short(path: Path) -> None:
    """Cut off the second half of a file."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def wal_file(repository: Path, label: str) -> Path:
    """Return the WAL segment that a snapshot needs."""
    manifest = (backups(repository) / label / "backup.manifest").read_text()
    segment = manifest.partition('backup-archive-start="')[2][:24]
    return next(path for path in archive(repository).rglob(f"{segment}-*"))


def rewritten(path: Path, old: str, new: str) -> None:
    """Replace a text in one of pgBackRest's files and its copy, and make their checksums right again."""
    for name in (path, path.with_name(f"{path.name}.copy")):
        text = name.read_text()
        assert old in text
        name.write_text(_signed(text.replace(old, new)))


def _signed(text: str) -> str:
    sections: dict[str, list[str]] = {}
    section = ""
    for line in text.splitlines():
        if line.startswith("["):
            section = line[1:-1]
        elif line and not line.startswith("backrest-checksum"):
            key, _, value = line.partition("=")
            sections.setdefault(section, []).append(f"{json.dumps(key)}:{value}")
    whole = ",".join(f'"{name}":{{{",".join(values)}}}' for name, values in sections.items())
    digest = hashlib.sha1(f"{{{whole}}}".encode(), usedforsecurity=False).hexdigest()
    head, _, _ = text.rpartition("backrest-checksum=")
    return f'{head}backrest-checksum="{digest}"\n'


def _both(change: Callable[[Path], object], *parts: str) -> Callable[[Path, str], None]:
    def damage(repository: Path, label: str) -> None:
        path = repository.joinpath(*(part.format(label=label) for part in parts))
        for each in (path, path.with_name(f"{path.name}.copy")):
            change(each)

    return damage


def _only(change: Callable[[Path], object], *parts: str) -> Callable[[Path, str], None]:
    return lambda repository, label: _done(change(repository.joinpath(*(part.format(label=label) for part in parts))))


def _done(_: object) -> None:
    """Return nothing, whatever came."""


def _emptied(repository: Path, label: str) -> None:
    for path in sorted(repository.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()


def _no_wal(repository: Path, label: str) -> None:
    for path in archive(repository).rglob("0*-*"):
        path.unlink()


def _no_snapshots(repository: Path, label: str) -> None:
    for path in (backups(repository) / "backup.info", backups(repository) / "backup.info.copy"):
        lines = path.read_text().splitlines(keepends=True)
        path.write_text(_signed("".join(line for line in lines if not line[:1].isdigit() or "F" not in line[:20])))


def _other_archive(repository: Path, label: str) -> None:
    path = archive(repository) / "archive.info"
    identifier = path.read_text().partition("db-system-id=")[2].partition("\n")[0]
    rewritten(path, identifier, str(int(identifier) + 1))


def _other_manifest(repository: Path, label: str) -> None:
    path = backups(repository) / label / "backup.manifest"
    identifier = path.read_text().partition("db-system-id=")[2].partition("\n")[0]
    rewritten(path, identifier, str(int(identifier) + 1))


def _other_version(repository: Path, label: str) -> None:
    for path in (
        backups(repository) / "backup.info",
        archive(repository) / "archive.info",
        backups(repository) / label / "backup.manifest",
    ):
        rewritten(path, 'db-version="15"', 'db-version="14"')
        if path.name != "backup.manifest":
            rewritten(path, '"db-version":"15"', '"db-version":"14"')
    (archive(repository) / "15-1").rename(archive(repository) / "14-1")


def _swapped_manifests(repository: Path, label: str) -> None:
    full = backups(repository) / label.partition("_")[0]
    for name in ("backup.manifest", "backup.manifest.copy"):
        (backups(repository) / label / name).write_bytes((full / name).read_bytes())


def _renamed_stanza(repository: Path, label: str) -> None:
    for path in (backups(repository), archive(repository)):
        path.rename(path.with_name("other"))


INFO, MANIFEST = ("backup", STANZA, "backup.info"), ("backup", STANZA, "{label}", "backup.manifest")
WAYS = (
    Way(
        name="a byte of the data is flipped",
        damage=lambda repository, label: flip(largest_bundle(repository, label)),
        names=("it cannot be restored (restore)", "damaged in the repository: pg_data/", "/bundle/"),
        flaw=None,
    ),
    Way(
        name="a data file is cut short",
        damage=lambda repository, label: cut_short(largest_bundle(repository, label)),
        names=("bundle/", "cut short"),
        flaw=Flaw.DAMAGED,
    ),
    Way(
        name="a data file is missing",
        damage=lambda repository, label: largest_bundle(repository, label).unlink(),
        names=("bundle/", "missing"),
        flaw=Flaw.INCOMPLETE,
    ),
    Way(
        name="a byte of the WAL is flipped",
        damage=lambda repository, label: flip(wal_file(repository, label)),
        names=("WAL segment",),
        flaw=None,
    ),
    Way(
        name="the WAL is missing",
        damage=lambda repository, label: wal_file(repository, label).unlink(),
        names=("WAL segment", "missing"),
        flaw=Flaw.INCOMPLETE,
    ),
    Way(
        name="the WAL has no content",
        damage=lambda repository, label: _done(wal_file(repository, label).write_bytes(b"")),
        names=("WAL segment", "no content"),
        flaw=Flaw.DAMAGED,
    ),
    Way(
        name="all WAL is missing",
        damage=_no_wal,
        names=("WAL segment", "missing"),
        flaw=Flaw.INCOMPLETE,
    ),
    Way(name="backup.info is damaged", damage=_both(flip, *INFO), names=("backup.info",), flaw=Flaw.DAMAGED),
    Way(
        name="backup.info has no content",
        damage=_both(lambda path: path.write_bytes(b""), *INFO),
        names=("backup.info", "empty"),
        flaw=Flaw.DAMAGED,
    ),
    Way(
        name="backup.info is missing",
        damage=_both(Path.unlink, *INFO),
        names=("backup.info", "missing"),
        flaw=Flaw.INCOMPLETE,
    ),
    Way(
        name="backup.info is all zeros",
        damage=_both(lambda path: path.write_bytes(bytes(path.stat().st_size)), *INFO),
        names=("backup.info", "zeros"),
        flaw=Flaw.DAMAGED,
    ),
    Way(
        name="only the copy of backup.info is damaged",
        damage=_only(flip, "backup", STANZA, "backup.info.copy"),
        names=("backup.info.copy",),
        flaw=Flaw.DAMAGED,
    ),
    Way(
        name="the manifest is damaged",
        damage=_both(flip, *MANIFEST),
        names=("backup.manifest",),
        flaw=Flaw.DAMAGED,
    ),
    Way(
        name="the manifest has no content",
        damage=_both(lambda path: path.write_bytes(b""), *MANIFEST),
        names=("backup.manifest", "empty"),
        flaw=Flaw.DAMAGED,
    ),
    Way(
        name="the manifest is that of another backup",
        damage=_swapped_manifests,
        names=("backup.manifest", "it is the manifest of"),
        flaw=Flaw.DAMAGED,
    ),
    Way(
        name="the manifest was changed, checksum and all",
        damage=lambda repository, label: rewritten(
            backups(repository) / label / "backup.manifest", "option-online=true", "option-online=false"
        ),
        names=("not the one that was pinned",),
        flaw=Flaw.DAMAGED,
    ),
    Way(
        name="the manifest is of another cluster",
        damage=_other_manifest,
        names=("manifest is of cluster",),
        flaw=Flaw.OTHER_CLUSTER,
    ),
    Way(
        name="the WAL is of another cluster",
        damage=_other_archive,
        names=("archive.info", "its WAL is of cluster"),
        flaw=Flaw.OTHER_CLUSTER,
    ),
    Way(
        name="it is of another version",
        damage=_other_version,
        names=("it was taken of version 14",),
        flaw=Flaw.OTHER_VERSION,
    ),
    Way(name="it is empty", damage=_emptied, names=("nothing lies there",), flaw=Flaw.EMPTY),
    Way(name="it holds no snapshot", damage=_no_snapshots, names=("has no snapshot",), flaw=Flaw.EMPTY),
    Way(
        name="it has another stanza",
        damage=_renamed_stanza,
        names=("no stanza shop", "one of other"),
        flaw=Flaw.UNKNOWN_STANZA,
    ),
    Way(
        name="it is encrypted",
        damage=_both(lambda path: path.write_bytes(b"Salted__" + path.read_bytes()), *INFO),
        names=("encrypted",),
        flaw=Flaw.UNREADABLE,
    ),
)
