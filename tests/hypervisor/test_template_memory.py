"""A saved memory is split so that both parts together are what it was, or it stays whole."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model.libvirt_xml import MEMORY_BLOCK, parsed
from provisioners.hypervisor.savefile import BadSaveFile, read_head
from provisioners.hypervisor.template_memory import (
    SAVED,
    forget_whole,
    is_whole,
    lay_down,
    make_whole_again,
    marks,
    take_ram_out,
)
from tests.hypervisor.test_savefile import libvirts_own

PAGE = 4096
SIZES = {"pc.ram": 16 * PAGE, "pc.bios": 4 * PAGE, "/rom@etc/acpi/tables": 2 * PAGE}
REST = b"\x04\0\0\0\x2adevices\x7e\x01\x02\x03" * 400
Page = tuple[str, int, bytes]
"""A block's name, a page's number in it, and one byte for a page that is full of it, or the page."""


def word(number: int) -> bytes:
    return number.to_bytes(8, "big")


def named(name: str) -> bytes:
    return bytes([len(name)]) + name.encode()


def stream(parts: Sequence[Sequence[Page]], sizes: dict[str, int] = SIZES, configuration: bool = True) -> bytes:
    """Return what qemu 7.2 writes of a machine: the sizes, its pages in several parts, the devices."""
    out = b"QEVM\0\0\0\3"
    if configuration:
        out += b"\x07" + len(b"pc-q35-7.2").to_bytes(4, "big") + b"pc-q35-7.2"
    out += b"\x01\0\0\0\x03" + named("ram") + b"\0\0\0\0\0\0\0\4"
    out += word(sum(sizes.values()) | 0x04) + b"".join(named(name) + word(size) for name, size in sizes.items())
    out += word(0x10) + b"\x7e\0\0\0\x03"
    block = ""
    for number, pages in enumerate(parts):
        out += (b"\x03" if number == len(parts) - 1 else b"\x02") + b"\0\0\0\x03"
        for name, at, content in pages:
            kind = 0x02 if len(content) == 1 else 0x08
            out += word(at * PAGE | kind | (0x20 if name == block else 0))
            out += (b"" if name == block else named(name)) + content
            block = name
        out += word(0x10) + b"\x7e\0\0\0\x03"
    return out + REST


def loaded(memory: bytes, ram: dict[str, bytearray]) -> bytes:
    """Read a stream as qemu does, into blocks that are there, and return what comes after the memory."""
    whole = io.BytesIO(memory)

    def number(count: int) -> int:
        return int.from_bytes(whole.read(count), "big")

    assert whole.read(8) == b"QEVM\0\0\0\3"
    kind, block = number(1), ""
    if kind == 0x07:
        whole.read(number(4))
        kind = number(1)
    first = True
    while kind in (1, 2, 3):
        assert number(4) == 3
        if kind == 1:
            assert first
            assert whole.read(number(1)) == b"ram"
            whole.read(8)
        first = False
        while (flags := number(8)) != 0x10:
            at, flags = flags & -PAGE, flags & PAGE - 1
            if flags == 0x04:
                while at > 0:
                    name = whole.read(number(1)).decode()
                    size = number(8)
                    assert len(ram[name]) == size
                    at -= size
                continue
            if not flags & 0x20:
                block = whole.read(number(1)).decode()
            content = whole.read(1) * PAGE if flags & 0x02 else whole.read(PAGE)
            ram[block][at : at + PAGE] = content
        assert whole.read(5) == b"\x7e\0\0\0\x03"
        if kind == 3:
            return whole.read()
        kind = number(1)
    raise AssertionError(kind)


def pages() -> st.SearchStrategy[Page]:
    def of(name: str) -> st.SearchStrategy[Page]:
        content = st.just(b"\0") | st.binary(min_size=1, max_size=8).map(lambda some: (some * PAGE)[:PAGE])
        return st.tuples(st.just(name), st.integers(0, SIZES[name] // PAGE - 1), content)

    return st.one_of([of(name) for name in SIZES])


@pytest.fixture
def template(tmp_path: Path) -> Path:
    return tmp_path


def save(template: Path, memory: bytes) -> None:
    template.joinpath(SAVED).write_bytes(libvirts_own(b"<domain><name>t</name></domain>", b"<cookie/>", memory))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=st.lists(st.lists(pages(), max_size=12), min_size=1, max_size=4), configuration=st.booleans())
def test_both_parts_together_are_the_whole(template: Path, parts: list[list[Page]], configuration: bool) -> None:
    memory = stream(parts, configuration=configuration)
    before = {name: bytearray(size) for name, size in SIZES.items()}
    assert loaded(memory, before) == REST
    save(template, memory)
    take_ram_out(template, os.getuid())
    after = {name: bytearray(size) for name, size in SIZES.items() if name != "pc.ram"}
    after[MEMORY_BLOCK] = bytearray((template / "memory.ram").read_bytes())
    with (template / SAVED).open("rb") as file:
        assert read_head(file, "x").cookie == "<cookie/>"
        rest = file.read()
    assert rest.count(MEMORY_BLOCK.encode()) == 1, "only its size is left of the memory"
    assert loaded(rest, after) == REST
    after["pc.ram"] = after.pop(MEMORY_BLOCK)
    assert after == before
    make_whole_again(template)
    with (template / SAVED).open("rb") as file:
        read_head(file, "x")
        assert file.read() == memory
    assert {path.name for path in template.iterdir()} == {SAVED}


GOOD = stream([[("pc.ram", 1, b"m" * PAGE), ("pc.bios", 0, b"b" * PAGE)], [("pc.bios", 1, b"\0")]])
OTHER_FIRST = GOOD.replace(named("ram") + b"\0\0\0\0\0\0\0\4", named("rom") + b"\0\0\0\0\0\0\0\4")


@pytest.mark.parametrize(
    "memory",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"QEVM\0\0\0\2" + GOOD[8:], id="another version"),
        pytest.param(OTHER_FIRST, id="another section first"),
        pytest.param(stream([[]], {"pc.bios": 4 * PAGE}), id="no block of memory"),
        pytest.param(stream([[("pc.ram", 2, b"\1")]]), id="a page full of ones"),
        pytest.param(GOOD.replace(word(PAGE | 0x08), word(PAGE | 0x40)), id="pages as differences"),
        pytest.param(GOOD.replace(b"\x7e\0\0\0\x03", b"\x7e\0\0\0\x04", 1), id="another section's end"),
        pytest.param(GOOD.replace(b"\x7e\0\0\0\x03\x02", b"\x7e\0\0\0\x03\x04", 1), id="the devices too early"),
        pytest.param(GOOD[: len(GOOD) - len(REST) - 3], id="cut short in its last part"),
        pytest.param(GOOD[:2000], id="cut short in a page"),
        pytest.param(GOOD.replace(word(sum(SIZES.values()) | 4), word(PAGE | 4)), id="sizes that do not fit"),
    ],
)
def test_what_is_not_known_stays_whole(template: Path, memory: bytes) -> None:
    save(template, memory)
    before = (template / SAVED).read_bytes()
    with pytest.raises(BadSaveFile, match=r"memory\.save"):
        take_ram_out(template, os.getuid())
    assert {path.name: path.read_bytes() for path in template.iterdir()} == {SAVED: before}


def test_a_clone_maps_the_memory_where_it_lies_apart(template: Path) -> None:
    machine = "<domain type='qemu'><name>db1</name></domain>"
    target = template / "db1.save"
    save(template, GOOD)
    lay_down(template, target, machine)
    with target.open("rb") as file:
        assert read_head(file, "x").xml == machine
        assert file.read() == GOOD
    take_ram_out(template, os.getuid())
    forget_whole(template)
    lay_down(template, target, machine)
    with target.open("rb") as file:
        root = parsed(read_head(file, "x").xml)
    words = [each.get("value", "") for each in root.iter() if each.tag.endswith("}arg")]
    assert words[::2] == ["-object", "-machine"]
    assert f'"mem-path": "{template / "memory.ram"}"' in words[1]
    assert f'"size": {SIZES["pc.ram"]}' in words[1]
    assert root.findtext("name") == "db1"
    assert b"m" * PAGE not in target.read_bytes()


@pytest.mark.parametrize("name", [SAVED, "memory.ram"])
def test_whoever_writes_to_it_is_seen_also_if_the_time_is_set_back(template: Path, name: str) -> None:
    save(template, GOOD)
    take_ram_out(template, os.getuid())
    noted = marks(template)
    assert is_whole(template, noted)
    path = template / name
    was = path.stat()
    with path.open("r+b") as file:
        file.write(b"x")
    os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))
    assert path.stat().st_mtime_ns == was.st_mtime_ns
    assert not is_whole(template, noted)
    path.unlink()
    assert not is_whole(template, noted)
    assert not is_whole(template, None)


def test_only_root_and_qemu_can_read_it(template: Path) -> None:
    save(template, GOOD)
    take_ram_out(template, 4711)
    found = {path.name: (path.stat().st_mode & 0o777, path.stat().st_uid) for path in template.iterdir()}
    forget_whole(template)
    assert {name: found[name] for name in marks(template)} == {SAVED: (0o600, 0), "memory.ram": (0o600, 4711)}
