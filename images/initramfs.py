"""The initial RAM disk: which drivers it has, in which order, and its archive. Pure: values in, bytes out."""

from __future__ import annotations

import stat
from collections.abc import Iterable, Mapping

Entry = tuple[str, int, bytes]
"""A path without a leading slash, a mode with its file type, and the content (a device: empty)."""


def load_order(names: Iterable[str], modules_dep: str, built_in: str) -> tuple[str, ...]:
    """Return the paths of these drivers and of all that they need, each after what it needs.

    Args:
        names: drivers' names, with underscores or hyphens.
        modules_dep: the text of the kernel's ``modules.dep``: a path, a colon, and what it needs, nearest first.
        built_in: the text of ``modules.builtin``; drivers in it need no loading.

    Raises:
        KeyError: the kernel has no such driver.

    >>> load_order(["a"], "k/a.ko: k/b.ko k/c.ko\\nk/b.ko: k/c.ko\\nk/c.ko:\\n", "")
    ('k/c.ko', 'k/b.ko', 'k/a.ko')
    """
    needs = {path: rest.split() for path, _, rest in (line.partition(":") for line in modules_dep.splitlines())}
    by_name = {_name(path): path for path in needs}
    inside = {_name(path) for path in built_in.splitlines()}
    order: dict[str, None] = {}
    for name in names:
        if name.replace("-", "_") in inside:
            continue
        path = by_name[name.replace("-", "_")]
        order |= dict.fromkeys((*reversed(needs[path]), path))
    return tuple(order)


def _name(path: str) -> str:
    return path.rsplit("/", 1)[-1].split(".ko", maxsplit=1)[0].replace("-", "_")


def archive(entries: Iterable[Entry]) -> bytes:
    """Return a cpio archive in the form that the kernel unpacks, the same bytes for the same entries.

    It is not compressed: under emulation the kernel would need longer to unpack than to be given a few more MiB.
    Source: Documentation/driver-api/early-userspace/buffer-format.rst of Linux.
    """
    parts = [_member(number, *entry) for number, entry in enumerate(entries, start=1)]
    return b"".join((*parts, _member(0, "TRAILER!!!", 0, b"")))


def _member(number: int, path: str, mode: int, content: bytes) -> bytes:
    name = path.encode() + b"\0"
    links = 2 if stat.S_ISDIR(mode) else 1
    fields = (number, mode, 0, 0, links, 0, len(content), 0, 0, 0, 0, len(name), 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + name
    return head + bytes(-len(head) % 4) + content + bytes(-len(content) % 4)


def entries(
    init: bytes, modules: Iterable[tuple[str, bytes]], early: Mapping[str, bytes], drivers: Mapping[str, bytes]
) -> tuple[Entry, ...]:
    """Return what the RAM disk holds.

    Args:
        init: the first program, in Perl.
        modules: our Perl modules by file name.
        early: files of the image by path: perl and what it needs.
        drivers: the drivers' contents by file name, in the order in which they are loaded.
    """
    order = "".join(f"{name}\n" for name in drivers).encode()
    files = {
        **early,
        **{f"{PERL_MODULES}/Understudy/{name}": content for name, content in modules},
        **{f"modules/{name}": content for name, content in drivers.items()},
        "modules/order": order,
    }
    mount_points = ("dev", "proc", "root", "sys")
    directories = sorted({parent for path in files for parent in _parents(path)} | set(mount_points))
    return (
        *((path, stat.S_IFDIR | 0o755, b"") for path in directories),
        *((path, stat.S_IFLNK | 0o777, target) for path, target in LINKS),
        ("init", stat.S_IFREG | 0o755, init),
        *((path, stat.S_IFREG | 0o755, content) for path, content in files.items()),
    )


LINKS = (("lib", b"usr/lib"), ("lib64", b"usr/lib/x86_64-linux-gnu"))
"""Where a program's loader looks for itself and for libraries."""

PERL_MODULES = "usr/lib/x86_64-linux-gnu/perl-base"
"""Where perl-base looks for modules."""


def _parents(path: str) -> tuple[str, ...]:
    parts = path.split("/")[:-1]
    return tuple("/".join(parts[: count + 1]) for count in range(len(parts)))
