"""Debian packages as files with digests: what a service's lock file fixes, so that stage and prod install the same."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from model import names
from model.errors import ConfigurationError, Fault
from model.readers import Place, read_count, read_keys, read_list, read_text
from model.service import Service

VERSION = 1
NAME = re.compile(r"[a-z0-9][a-z0-9+.-]+")
"""Source: Debian Policy 5.6.1."""
NAME_ALLOWED = "the name of a Debian package, such as cron"
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+~:-]*")
_ARCHITECTURE = re.compile(r"[a-z0-9][a-z0-9-]*")
_FILE = re.compile(r"[a-z0-9][A-Za-z0-9.+~%_-]*\.deb")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MOST_BYTES = 1 << 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """One package's file.

    Args:
        file: the name that its archive gives it.
        size: bytes.
        sha256: digest of the file, in hexadecimal.
    """

    name: str
    version: str
    architecture: str
    file: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageLock:
    """What ``packages.lock.yaml`` of a service fixes.

    Args:
        wanted: the packages that the service named when it was written, sorted.
        packages: these and what they need, as far as the machine image has not got it, sorted by name.
    """

    wanted: tuple[str, ...] = ()
    packages: tuple[Package, ...] = ()

    def digests(self) -> dict[str, str]:
        """Return the digest of each file, by ``name_version``.

        >>> one = Package(name="a", version="1", architecture="all", file="a_1_all.deb", size=9, sha256="ab")
        >>> PackageLock(packages=(one,)).digests()
        {'a_1': 'ab'}
        """
        return {f"{package.name}_{package.version}": package.sha256 for package in self.packages}


def lock_file(service: str) -> str:
    """Return the lock file's path in the project.

    >>> lock_file("cron")
    'services/cron/packages.lock.yaml'
    """
    return f"services/{service}/packages.lock.yaml"


def resting_place(package: Package) -> str:
    """Return where the package's file lies on the controller."""
    return f"{names.ROOT}/packages/{package.sha256}.deb"


def as_values(lock: PackageLock) -> dict[str, object]:
    """Return a lock as the plain values of its file, in a fixed order."""
    packages = sorted(lock.packages, key=lambda package: package.name)
    return {"version": VERSION, "wanted": sorted(lock.wanted), "packages": [asdict(package) for package in packages]}


def read_lock(file: str, values: object) -> PackageLock:
    """Return what a lock file says.

    Args:
        file: the file's name, for faults.
        values: what stands in it, parsed.

    Raises:
        ConfigurationError: with everything that is wrong with it.
    """
    place = Place(file, (), [])
    required: tuple[str, ...] = ("version", "wanted", "packages")
    if isinstance(values, Mapping) and values.get("version", VERSION) != VERSION:
        required, values = ("version",), {"version": values["version"]}
    keys = read_keys(place, values, required=required)
    keys.read("version", read_count, least=VERSION, most=VERSION)
    lock = PackageLock(
        wanted=keys.read("wanted", read_list, lambda item, name: read_text(item, name, NAME, NAME_ALLOWED)) or (),
        packages=keys.read("packages", _read_packages) or (),
    )
    found = [package.name for package in lock.packages]
    for name in sorted({name for name in found if name and found.count(name) > 1}):
        (place / "packages").fault(name, "each package only once")
    if place.faults:
        raise ConfigurationError(tuple(place.faults))
    return lock


def _read_packages(place: Place, value: object) -> tuple[Package, ...]:
    if isinstance(value, list):
        return tuple(_read_package(place / str(index), item) for index, item in enumerate(value))
    place.fault(value, "a list of packages")
    return ()


def _read_package(place: Place, value: object) -> Package:
    keys = read_keys(place, value, required=("name", "version", "architecture", "file", "size", "sha256"))
    return Package(
        name=keys.read("name", read_text, NAME, NAME_ALLOWED) or "",
        version=keys.read("version", read_text, _VERSION, "a Debian version in quotes") or "",
        architecture=keys.read("architecture", read_text, _ARCHITECTURE, "such as amd64 or all") or "",
        file=keys.read("file", read_text, _FILE, "the name of a .deb file") or "",
        size=keys.read("size", read_count, least=1, most=_MOST_BYTES) or 0,
        sha256=keys.read("sha256", read_text, _SHA256, "64 hexadecimal digits") or "",
    )


def lock_fault(service: Service, lock: PackageLock | None) -> Fault | None:
    """Return what is wrong between a service and its lock, None where they fit.

    >>> str(lock_fault(Service(name="cron", packages=("cron",)), None)).partition("; ")[2]
    'allowed: what `./run understudy packages cron` writes'
    >>> lock_fault(Service(name="cron", packages=("cron",)), PackageLock(wanted=("cron",)))
    """
    if set(service.packages) == set(lock.wanted if lock else ()):
        return None
    found = f"for {', '.join(lock.wanted)}, while service.yaml names {_names(service)}" if lock else "no such file"
    return Fault(
        file=lock_file(service.name),
        key="wanted" if lock else "the file",
        found=found,
        allowed=f"what `./run understudy packages {service.name}` writes",
    )


def _names(service: Service) -> str:
    return ", ".join(service.packages) or "none"
