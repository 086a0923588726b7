"""Repositories: what they hold, what of it is fetched, from a directory and from a bucket."""

from __future__ import annotations

import gzip
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from model.errors import UnderstudyError
from model.snapshot import BadBackup, Flaw
from model.topology import Backup
from provisioners.stores.bucket import Bucket
from provisioners.stores.pgbackrest_repository import PgBackRest
from provisioners.stores.repository import open_repository
from tests.damage.ways import flip, largest_bundle
from tests.model.test_dumps import MARIADB, PLAIN, PLAIN_END, archive
from tests.stores.machines import SAMPLE

SHOP = Backup(kind="pgbackrest", location="repository", stanza="shop")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    shutil.copytree(SAMPLE, tmp_path / "repository")
    return tmp_path


def test_snapshots_of_a_directory(project: Path) -> None:
    repository = open_repository(SHOP, project)
    labels = [snapshot.label for snapshot in repository.snapshots()]
    assert labels == sorted(labels)
    assert len(labels) >= 3
    assert repository.newest().label == labels[-1]
    assert len({repository.digest(label) for label in labels}) == len(labels)
    assert repository.passed_over == {}


def test_only_what_a_snapshot_needs_is_fetched(project: Path) -> None:
    repository = open_repository(SHOP, project)
    full, diff, *_ = (snapshot.label for snapshot in repository.snapshots())
    tree = repository.fetch(full, print)
    assert not [name for name in tree.names if f"{full}_" in name], "nothing of the later backups"
    segments = [name for name in tree.names if name.startswith("archive/shop/15-1/")]
    assert 1 <= len(segments) <= 2, "the WAL of this one backup alone"
    assert tree.size_bytes < repository.fetch(diff, print).size_bytes
    assert tree.root == project / "repository", "nothing is copied"


def test_a_newer_snapshot_that_is_bad_is_passed_over(project: Path) -> None:
    repository = open_repository(SHOP, project)
    labels = [snapshot.label for snapshot in repository.snapshots()]
    shutil.rmtree(project / "repository" / "backup" / "shop" / labels[-1] / "bundle")
    assert repository.newest().label == labels[-2]
    assert "bundle/1: the backup is incomplete" in repository.passed_over[labels[-1]]


def test_where_none_is_good_the_newest_is_named(project: Path) -> None:
    repository = open_repository(SHOP, project)
    newest = repository.snapshots()[-1].label
    for path in (project / "repository" / "backup" / "shop").glob("*/backup.manifest"):
        flip(path)
    with pytest.raises(BadBackup, match=f"{newest}/backup.manifest: the backup is damaged"):
        repository.newest()


def of_bucket(endpoint: str, **more: str) -> Backup:
    words = {"kind": "pgbackrest", "location": "s3://backups/prod", "stanza": "shop", **more}
    return Backup(**words, endpoint=endpoint, region="us-east-1")


def test_a_bucket_gives_what_a_directory_gives(endpoint: str, bucket: Any, project: Path, tmp_path: Path) -> None:
    here, there = open_repository(SHOP, project), open_repository(of_bucket(endpoint), project)
    assert there.snapshots() == here.snapshots()
    label = there.newest().label
    assert there.digest(label) == here.digest(label)
    trees = here.fetch(label, print), there.fetch(label, print)
    assert trees[0].names == trees[1].names
    for name in trees[0].names:
        assert (trees[0].root / name).read_bytes() == (trees[1].root / name).read_bytes()


def test_a_fetch_goes_on_and_keeps_only_the_newest(endpoint: str, bucket: Any, project: Path, tmp_path: Path) -> None:
    repository = open_repository(of_bucket(endpoint), project)
    full, *_, newest = (snapshot.label for snapshot in repository.snapshots())
    first = repository.fetch(newest, print)
    objects = first.root.parent / "objects"
    bundle = max(objects.iterdir(), key=lambda path: path.stat().st_size)
    whole = bundle.read_bytes()
    part = bundle.with_suffix(".part")
    part.write_bytes(whole[:1000])  # as a killed run leaves it
    bundle.unlink()
    again = repository.fetch(newest, print)
    assert bundle.read_bytes() == whole
    assert not part.exists()
    assert again.names == first.names
    repository.fetch(full, print)
    kept = sum(path.stat().st_size for path in objects.iterdir())
    assert kept == sum((SAMPLE / name).stat().st_size for name in repository.fetch(full, print).names)


@pytest.mark.parametrize(
    ("more", "flaw", "found"),
    [
        ({"location": "s3://nowhere/prod"}, Flaw.ABSENT, "NoSuchBucket"),
        ({"location": "s3://backups/other"}, Flaw.EMPTY, "nothing lies there"),
        ({"stanza": "main"}, Flaw.UNKNOWN_STANZA, "it has no stanza main; wanted one of shop"),
    ],
)
def test_what_is_wrong_with_a_bucket_is_named(
    more: dict[str, str], flaw: Flaw, found: str, endpoint: str, bucket: Any, tmp_path: Path
) -> None:
    with pytest.raises(BadBackup) as caught:
        open_repository(of_bucket(endpoint, **more), tmp_path).newest()
    assert caught.value.flaw is flaw
    assert found in str(caught.value)


def test_dumps_and_files_in_a_bucket(
    endpoint: str, bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A packed dump is read to its end to tell whether it is whole; what is fetched is nobody else's to read."""
    end = b"-- Dump completed on 2026-11-23  2:30:07\n"
    whole = gzip.compress(MARIADB + os.urandom(90_000).hex().encode() + b"\n" + end)
    bucket.put_object(Bucket="backups", Key="dumps/1.sql.gz", Body=whole)
    bucket.put_object(Bucket="backups", Key="dumps/2.sql.gz", Body=whole[:-5000])
    bucket.put_object(Bucket="backups", Key="dumps/3.sql", Body=b"")
    dumps = open_repository(of_bucket(endpoint, kind="mysqldump", location="s3://backups/dumps", stanza=""), tmp_path)
    asked, read = [], Bucket.read

    def noted(self: Bucket, name: str, start: int = 0, size: int = -1) -> bytes | None:
        asked.append(name)
        return read(self, name, start, size)

    monkeypatch.setattr(Bucket, "read", noted)
    assert dumps.newest().label == "1.sql.gz"
    assert dumps.fetch("1.sql.gz", print).names == ("1.sql.gz",)
    assert len(asked) < 30, "a packed dump is read in large pieces, and once"
    assert dumps.passed_over.keys() == {"2.sql.gz", "3.sql"}
    one = of_bucket(endpoint, kind="mysqldump", location="s3://backups/dumps/1.sql.gz", stanza="")
    assert open_repository(one, tmp_path).newest().label == "1.sql.gz"
    files = open_repository(of_bucket(endpoint, kind="files", location="s3://backups/dumps", stanza=""), tmp_path)
    tree = files.fetch(files.newest().label, print)
    assert tree.names == ("1.sql.gz", "2.sql.gz", "3.sql")
    assert (tree.root / "1.sql.gz").read_bytes() == whole
    assert int((tree.root / "3.sql").stat().st_mtime) == int(files.newest().taken_at.timestamp())
    assert tree.root.parent.stat().st_mode & 0o77 == 0


def test_a_bucket_without_credentials(
    endpoint: str, bucket: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    with pytest.raises(UnderstudyError, match=r"s3://backups/prod: Unable to locate credentials"):
        open_repository(of_bucket(endpoint), tmp_path).newest()


def test_a_damaged_bucket_is_seen_before_it_is_fetched(endpoint: str, bucket: Any, tmp_path: Path) -> None:
    label = open_repository(of_bucket(endpoint), tmp_path).newest().label
    path = largest_bundle(SAMPLE, label)
    bucket.put_object(Bucket="backups", Key=f"prod/{path.relative_to(SAMPLE)}", Body=b"short")
    with pytest.raises(BadBackup, match="cut short: it has 5 bytes"):
        open_repository(of_bucket(endpoint), tmp_path).inspect(label)


def test_dumps_in_a_directory(tmp_path: Path) -> None:
    nights = tmp_path / "nights"
    (nights / "c").mkdir(parents=True)
    (nights / "a.dump").write_bytes(archive())
    (nights / "b.sql.gz").write_bytes(gzip.compress(PLAIN + b"x" * 300_000 + PLAIN_END))
    (nights / "c" / "toc.dat").write_bytes(archive(kind=3))
    (nights / "c" / "1.dat").write_bytes(b"rows")
    (nights / "d.sql").write_bytes(PLAIN)
    for day, name in enumerate(("a.dump", "b.sql.gz", "c/toc.dat", "c/1.dat", "d.sql"), start=1):
        moment = datetime(2026, 12, day, tzinfo=UTC).timestamp()
        os.utime(nights / name, (moment, moment))
    repository = open_repository(Backup(kind="pg_dump", location="nights"), tmp_path)
    found = {snapshot.label: snapshot for snapshot in repository.snapshots()}
    assert set(found) == {"a.dump", "b.sql.gz", "c", "d.sql"}
    assert found["d.sql"].fault == "damaged: it is cut short: the line `dump complete` is missing"
    assert [found[label].version for label in ("a.dump", "b.sql.gz", "c")] == ["15.18"] * 3
    assert repository.newest().label == "b.sql.gz", "the archives say themselves that they are older"
    assert set(repository.fetch("c", print).names) == {"c/1.dat", "c/toc.dat"}
    before = repository.digest("c")
    (nights / "c" / "1.dat").write_bytes(b"lost")
    assert repository.digest("c") != before


def test_one_dump(tmp_path: Path) -> None:
    (tmp_path / "shop.sql").write_bytes(MARIADB + b"-- Dump completed on 2026-11-23  2:30:07\n")
    repository = open_repository(Backup(kind="mysqldump", location="shop.sql"), tmp_path)
    newest = repository.newest()
    assert (newest.label, newest.version) == ("shop.sql", "10.11.6")
    assert repository.fetch("shop.sql", print).names == ("shop.sql",)


def test_a_broken_gzip(tmp_path: Path) -> None:
    (tmp_path / "a.sql.gz").write_bytes(gzip.compress(PLAIN + os.urandom(9000) + PLAIN_END)[:-4000])
    with pytest.raises(BadBackup, match="its compression is broken"):
        open_repository(Backup(kind="pg_dump", location="a.sql.gz"), tmp_path).newest()


def test_files(tmp_path: Path) -> None:
    backup = Backup(kind="files", location="uploads")
    with pytest.raises(BadBackup, match="there is no such file or directory"):
        open_repository(backup, tmp_path)
    (tmp_path / "uploads" / "a").mkdir(parents=True)
    with pytest.raises(BadBackup, match="the backup is empty: no file lies there"):
        open_repository(backup, tmp_path).newest()
    (tmp_path / "uploads" / "a" / "b c.txt").write_text("hello")
    repository = open_repository(backup, tmp_path)
    snapshot = repository.newest()
    digest = repository.digest(snapshot.label)
    assert repository.fetch(snapshot.label, print).names == ("a/b c.txt",)
    (tmp_path / "uploads" / "a" / "b c.txt").write_text("hallo")
    assert repository.digest(repository.newest().label) != digest


def test_damaged_files_are_named(project: Path) -> None:
    repository = open_repository(SHOP, project)
    assert isinstance(repository, PgBackRest)
    label = repository.newest().label
    assert repository.damaged_files(label) == ()
    bundle = largest_bundle(project / "repository", label)
    flip(bundle)
    (found,) = repository.damaged_files(label)
    assert found.startswith("pg_data/")
    assert found.endswith(f"{bundle.parent.parent.name}/bundle/{bundle.name})")
