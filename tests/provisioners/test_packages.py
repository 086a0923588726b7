"""Packages of services: the real apt, with an archive of a few packages on this computer."""

from __future__ import annotations

import hashlib
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from model.errors import UnderstudyError
from model.packages import Package
from provisioners.packages import Archive, path_of

SAID: list[str] = []


class Repository:
    """An archive as apt reads it: `.deb` files, and a list of them."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.stanzas = directory, dict[str, str]()
        directory.mkdir()

    def add(self, name: str, version: str, depends: str = "", content: str = "") -> str:
        """Build a package, list it, and return its digest."""
        tree, file = self.directory / "tree", f"{name}_{version}_all.deb"
        control = f"Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: a <a@a.example>\n"
        control += f"Depends: {depends}\n" if depends else ""
        (tree / "DEBIAN").mkdir(parents=True, exist_ok=True)
        (tree / "DEBIAN/control").write_text(f"{control}Description: a test\n")
        (tree / "content").write_text(content)
        subprocess.run(["dpkg-deb", "--root-owner-group", "-b", str(tree), str(self.directory / file)], check=True)
        bytes_ = (self.directory / file).read_bytes()
        digest = hashlib.sha256(bytes_).hexdigest()
        self.stanzas[file] = f"{control}Filename: ./{file}\nSize: {len(bytes_)}\nSHA256: {digest}\nDescription: a\n"
        self.list()
        return digest

    def list(self) -> None:
        """Write the list anew."""
        (self.directory / "Packages").write_text("\n".join(self.stanzas.values()))


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "repository")


@pytest.fixture
def archive(repository: Repository, tmp_path: Path) -> Archive:
    line = f"deb [trusted=yes] copy:{repository.directory} ./\n"
    (tmp_path / "packages").mkdir()
    return Archive(sources=line, architecture="amd64", directory=tmp_path / "packages")


@pytest.fixture
def status(tmp_path: Path) -> Path:
    """A machine that has `lib`, but not what `web` needs beside it."""
    path = tmp_path / "status"
    stanza = (
        "Package: lib\nStatus: install ok installed\nArchitecture: all\nVersion: 1\nMaintainer: a\nDescription: a\n"
    )
    path.write_text(stanza)
    return path


def test_what_the_machine_has_not_is_fetched_and_nothing_else(
    repository: Repository, archive: Archive, status: Path
) -> None:
    repository.add("lib", "1")
    repository.add("unwanted", "1")
    more, web = repository.add("web-data", "1:2.0~rc1"), repository.add("web", "3-1", "lib, web-data (>= 1:2)")
    found = archive.resolve(("web",), status, SAID.append)
    assert [(package.name, package.version, package.sha256) for package in found] == [
        ("web-data", "1:2.0~rc1", more),
        ("web", "3-1", web),
    ]
    for package in found:
        content = path_of(package.sha256, archive.directory).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (package.size, package.sha256)
    assert not list(archive.directory.glob(".work-*"))


def test_a_package_that_nobody_has_is_told_in_apts_words(
    archive: Archive, repository: Repository, status: Path
) -> None:
    repository.list()
    with pytest.raises(UnderstudyError, match=r"packages no-such-thing: .*Unable to locate package no-such-thing"):
        archive.resolve(("no-such-thing",), status, SAID.append)


def test_needs_that_cannot_be_met_are_told(archive: Archive, repository: Repository, status: Path) -> None:
    repository.add("web", "1", "lib (>= 2)")
    with pytest.raises(UnderstudyError, match="packages web: "):
        archive.resolve(("web",), status, SAID.append)


def resolved(archive: Archive, repository: Repository, status: Path) -> Package:
    repository.add("web", "1", content="the first")
    (package,) = archive.resolve(("web",), status, SAID.append)
    return package


@pytest.mark.parametrize("damage", ["gone", "cut short", "changed"])
def test_a_file_that_is_not_whole_is_fetched_again(
    archive: Archive, repository: Repository, status: Path, damage: str
) -> None:
    package = resolved(archive, repository, status)
    path = path_of(package.sha256, archive.directory)
    content = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(content[:-1] if damage == "cut short" else b"x" + content[1:])
    repository.add("web", "2")  # a newer one does not matter
    archive.ensure((package,), SAID.append)
    assert path.read_bytes() == content


def test_what_lies_here_needs_no_archive(archive: Archive, repository: Repository, status: Path) -> None:
    package = resolved(archive, repository, status)
    replace(archive, sources="deb copy:/nowhere ./\n").ensure((package,), SAID.append)


def test_another_file_of_the_same_version_is_refused(archive: Archive, repository: Repository, status: Path) -> None:
    package = resolved(archive, repository, status)
    path_of(package.sha256, archive.directory).unlink()
    other = repository.add("web", "1", content="another")
    subprocess.run(["rm", "-r", str(archive.directory / "apt")], check=True)
    with pytest.raises(UnderstudyError, match=f"web 1: SHA-256 {other}; wanted {package.sha256}"):
        archive.ensure((package,), SAID.append)
    assert not list(archive.directory.glob("*.deb"))


def test_a_version_that_is_no_longer_there_is_told(archive: Archive, repository: Repository, status: Path) -> None:
    package = resolved(archive, repository, status)
    path_of(package.sha256, archive.directory).unlink()
    repository.stanzas.clear()
    (repository.directory / package.file).unlink()
    repository.add("web", "2")
    with pytest.raises(UnderstudyError, match=r"web 1: .*understudy packages"):
        archive.ensure((package,), SAID.append)


def test_lists_that_are_too_old_are_renewed(archive: Archive, repository: Repository, status: Path) -> None:
    resolved(archive, repository, status)
    digest = repository.add("other", "5")
    other = Package(name="other", version="5", architecture="all", file="other_5_all.deb", size=1, sha256=digest)
    archive.ensure((replace(other, size=(repository.directory / other.file).stat().st_size),), SAID.append)
    assert path_of(digest, archive.directory).is_file()
