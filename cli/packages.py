"""Finds the exact .debs for services that name packages, and writes them into the services' lock files.

Machines install these very files, without any access to a package archive: what stage tried is what prod gets. What
the machine image has already is left out. Run it again to take newer versions; `git diff` then shows which.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from cli.arguments import add_stack, project_directory, short_stack
from cli.files import read_lock as read_placement
from components.files import read_package_lock
from components.site import read_services
from components.strict_yaml import dump
from images import build, cache
from images.cache import ImagePaths
from model.errors import UnderstudyError
from model.packages import PackageLock, as_values, lock_file
from model.placement import file_name
from model.readers import meant
from model.service import Service
from provisioners.hypervisor.host import write_whole
from provisioners.packages import archive, image_status

_HEADER = (
    "# Written by `understudy packages`: the exact files that machines install. Run it again to take newer versions.\n"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `understudy packages`."""
    add_stack(parser)
    parser.add_argument("service", nargs="*", metavar="SERVICE", help="default: every service that names packages")


def run(arguments: argparse.Namespace) -> int:
    """Write the lock files and say what changed in them."""
    directory, stack = project_directory(arguments.cwd), short_stack(arguments.stack)
    services = _chosen(read_services(directory), arguments.service)
    if not services:
        print("no service names packages")
        return 0
    image = _image(directory, stack)
    for service in services:
        before = read_package_lock(directory, service.name)
        after = PackageLock(wanted=service.packages)
        if service.packages:
            packages = archive().resolve(service.packages, image_status(image, say), say)
            after = PackageLock(wanted=service.packages, packages=packages)
        write(directory, service.name, after)
        for line in lines(before or PackageLock(), after):
            print(f"{lock_file(service.name)}: {line}")
    return 0


def say(line: str) -> None:
    """Show progress."""
    print(line, file=sys.stderr, flush=True)


def _chosen(services: dict[str, Service], names: list[str]) -> list[Service]:
    for name in names:
        if name not in services:
            wanted = f"one of {', '.join(services)}{meant(name, services)}"
            raise UnderstudyError(where="services/", found=f"no folder {name}", wanted=wanted)
    if names:
        return [services[name] for name in names]
    return [service for service in services.values() if service.packages]


def _image(directory: Path, stack: str) -> ImagePaths:
    """Return the stack's image where it was placed, or else the present recipe's, built if need be."""
    placement = read_placement(directory, stack)
    if placement is None or not placement.image:
        return build.ensure(say)
    found = cache.usable(build.IMAGES / placement.image)
    if isinstance(found, ImagePaths):
        return found
    raise UnderstudyError(
        where=f"{file_name(stack)}: image",
        found=f"{placement.image}, {found}",
        wanted="an image that is on this computer",
        todo=f"Run `./run pulumi up -s {stack}`, which builds it, or `./run understudy place --again -s {stack}`.",
    )


def write(directory: Path, service: str, lock: PackageLock) -> None:
    """Write a service's lock file; none where it names no packages."""
    path = directory / lock_file(service)
    if lock.wanted:
        write_whole(path, _HEADER + dump(as_values(lock)), mode=0o644)
    else:
        path.unlink(missing_ok=True)


def lines(before: PackageLock, after: PackageLock) -> list[str]:
    """Return what changed from one lock to the next, in words.

    >>> lines(PackageLock(), PackageLock())
    ['nothing changed']
    """
    old = {package.name: package for package in before.packages}
    new = {package.name: package for package in after.packages}
    changes = []
    for name in sorted({*old, *new}):
        if name not in new:
            changes.append(f"{name}: no longer needed")
        elif name not in old:
            changes.append(f"{name} {new[name].version}")
        elif old[name].version != new[name].version:
            changes.append(f"{name} {old[name].version} -> {new[name].version}")
        elif old[name] != new[name]:
            changes.append(f"{name} {new[name].version}: another file than before, of the same version")
    return changes or ["nothing changed"]
