"""The .debs of services on this computer: resolved and fetched by its own apt, with a root of apt's own."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from images.cache import ImagePaths
from images.recipe import Recipe, read_recipe
from images.sources import read_sources
from model.errors import UnderstudyError
from model.packages import Package
from provisioners.hypervisor.host import ROOT, ToolFailed, locked, tool, write_whole
from provisioners.outcome import Say

PACKAGES = ROOT / "packages"
"""Each package lies here under its digest; beside them what apt itself keeps, and what is installed in each image."""
_SECONDS = 1800
_QUIET = (
    *("-q", "-o", "Acquire::Languages=none", "-o", "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false"),
    *("-o", "Dir::Etc::SourceParts=/dev/null", "-o", "Dir::Etc::Preferences=/dev/null"),
    *("-o", "Dir::Etc::PreferencesParts=/dev/null"),
)


def path_of(sha256: str, directory: Path = PACKAGES) -> Path:
    """Return where the file of that digest lies on this computer."""
    return directory / f"{sha256}.deb"


def missing(packages: Iterable[Package], directory: Path = PACKAGES) -> list[Package]:
    """Return those packages whose files do not lie here whole."""
    return [package for package in packages if not _is_whole(path_of(package.sha256, directory), package)]


def image_status(image: ImagePaths, say: Say, directory: Path = PACKAGES) -> Path:
    """Return dpkg's own list of what is installed in an image, read out of its disk once for each build of it.

    Raises:
        UnderstudyError: the disk cannot be read.

    Source: debugfs(8); the disk holds one ext4 file system without partitions (images/README.md).
    """
    build = hashlib.sha256((image.directory / "image.json").read_bytes()).hexdigest()[:12]
    status = directory / f"image-{image.digest}-{build}.status"
    if not status.is_file():
        say(f"image {image.digest}: reading what is installed in it")
        with _working(directory, say) as place:
            raw = place / "disk.raw"
            tool("qemu-img", "convert", "-O", "raw", str(image.disk), str(raw), timeout_seconds=600)
            text = tool("debugfs", "-R", "cat /var/lib/dpkg/status", str(raw))
        if "Package: dpkg\n" not in text:
            raise UnderstudyError(where=str(image.disk), found="no /var/lib/dpkg/status in it")
        write_whole(status, text, mode=0o644)
    return status


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """Where packages come from, and where they are kept.

    Args:
        sources: apt's sources, in deb822 form or as lines.
        directory: where the packages lie.
    """

    sources: str
    architecture: str
    directory: Path = PACKAGES

    def resolve(self, wanted: Sequence[str], status: Path, say: Say) -> tuple[Package, ...]:
        """Fetch the newest files of packages and of what these need beyond what is installed; sorted by name.

        Args:
            wanted: the packages' names.
            status: dpkg's list of what is installed already.
            say: gets a line of progress.

        Raises:
            UnderstudyError: there is no such package, or its needs cannot be met; apt's own words say why.
        """
        with _working(self.directory, say) as place:
            say(f"asking for {', '.join(wanted)} and what they need")
            try:
                self._apt(status, "update")
                argv = ("--download-only", "--no-install-recommends", "--assume-yes", "--", *wanted)
                self._apt(status, "-o", f"Dir::Cache::Archives={place}", "install", *argv)
            except ToolFailed as error:
                raise UnderstudyError(where=f"packages {', '.join(wanted)}", found=error.found) from error
            return tuple(self._keep(path) for path in sorted(place.glob("*.deb")))

    def ensure(self, packages: Iterable[Package], say: Say) -> None:
        """See that packages lie here whole; fetch the others again, which must be the very same files.

        Raises:
            UnderstudyError: one can't be had any more, or is another file than the lock fixes.
        """
        if missing(packages, self.directory):
            with _working(self.directory, say) as place:
                for package in missing(packages, self.directory):  # another may have fetched it meanwhile
                    say(f"fetching {package.name} {package.version}")
                    self._fetch(package, place)

    def _fetch(self, package: Package, place: Path) -> None:
        where, todo = f"{package.name} {package.version}", "If the newest will do, run `./run understudy packages`."
        try:
            self._download(package, place)
        except ToolFailed as error:
            raise UnderstudyError(where=where, found=error.found, wanted=package.file, todo=todo) from error
        (path,) = place.glob("*.deb")
        found = _sha256(path)
        if found != package.sha256:
            todo = f"Somebody changed that file, so it is not used. {todo}"
            raise UnderstudyError(where=where, found=f"SHA-256 {found}", wanted=package.sha256, todo=todo)
        self._keep(path)

    def _download(self, package: Package, place: Path) -> None:
        """Take it by the lists that are there; fresh ones only where these do not know it."""
        nothing = place / "nothing-is-installed"
        nothing.touch()
        argv = ("download", "--", f"{package.name}={package.version}")
        try:
            self._apt(nothing, *argv, directory=place)
        except ToolFailed:
            self._apt(nothing, "update")
            self._apt(nothing, *argv, directory=place)

    def _keep(self, path: Path) -> Package:
        """Put a file under its digest and return what it says of itself."""
        told = tool("dpkg-deb", "--show", "--showformat=${Package}\n${Version}\n${Architecture}", str(path))
        name, version, architecture = told.split("\n")
        digest, size = _sha256(path), path.stat().st_size
        path.chmod(0o644)
        path.replace(path_of(digest, self.directory))
        return Package(name=name, version=version, architecture=architecture, file=path.name, size=size, sha256=digest)

    def _apt(self, status: Path, *argv: str, directory: Path = Path("/")) -> None:
        apt = self.directory / "apt"
        sources = apt / ("image.sources" if self.sources.startswith("Types") else "image.list")
        write_whole(sources, self.sources, mode=0o644)
        for needed in ("state/lists/partial", "cache/archives/partial"):
            (apt / needed).mkdir(parents=True, exist_ok=True)
        places = {
            "Dir::State": apt / "state",
            "Dir::State::Status": status,
            "Dir::Cache": apt / "cache",
            "Dir::Log": apt / "log",
            "Dir::Etc::SourceList": sources,
            "APT::Architecture": self.architecture,
            "APT::Architectures": self.architecture,
        }
        options = [word for key, value in places.items() for word in ("-o", f"{key}={value}")]
        tool("env", f"--chdir={directory}", "apt-get", *_QUIET, *options, *argv, timeout_seconds=_SECONDS)


def archive(recipe: Recipe | None = None) -> Archive:
    """Return where the packages for our images come from: the sources that this computer's apt uses for that suite.

    Raises:
        UnderstudyError: it uses none.
    """
    recipe = recipe or read_recipe()
    sources = read_sources(recipe.suite)
    if not sources:
        raise UnderstudyError(
            where="/etc/apt",
            found=f"no source of {recipe.suite}",
            wanted=f"Debian's {recipe.suite} with its updates and security, component main",
            todo="Add it to /etc/apt/sources.list.d, or run this where it is there, and take the lock file along.",
        )
    return Archive(sources=sources, architecture=recipe.architecture)


@contextmanager
def _working(directory: Path, say: Say) -> Iterator[Path]:
    """Be the only one who works here, in a new directory that is gone in the end; what a killed run left goes first."""
    with locked(directory / ".lock", say, "another process fetches packages"):
        for left in directory.glob(".work-*"):
            shutil.rmtree(left)
        place = Path(tempfile.mkdtemp(prefix=".work-", dir=directory))
        place.chmod(0o755)  # apt fetches as a user of its own
        try:
            yield place
        finally:
            shutil.rmtree(place, ignore_errors=True)


def _is_whole(path: Path, package: Package) -> bool:
    try:
        return path.stat().st_size == package.size and _sha256(path) == package.sha256
    except OSError:
        return False


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
