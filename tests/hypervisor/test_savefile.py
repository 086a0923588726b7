"""Saved memory: what is read is what was written, and nothing else is taken for it."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioners.hypervisor.savefile import BadSaveFile, SaveHead, head_bytes, read_head, rewrite

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=9000)


@given(xml=TEXT, cookie=TEXT | st.just(""), was_running=st.booleans(), compression=st.integers(0, 5))
def test_a_head_survives_the_way_there_and_back(xml: str, cookie: str, was_running: bool, compression: int) -> None:
    head = SaveHead(xml=xml, cookie=cookie, was_running=was_running, compression=compression, length=0)
    data = head_bytes(head)
    stream = io.BytesIO(data + b"memory")
    back = read_head(stream, "x")
    assert (back.xml, back.cookie, back.was_running, back.compression) == (xml, cookie, was_running, compression)
    assert back.length == len(data)
    assert len(data) % 4096 == 0
    assert stream.read() == b"memory"


def libvirts_own(xml: bytes, cookie: bytes, memory: bytes) -> bytes:
    """Return a file as libvirt 9 wrote it on this project's first machine: no filling, the cookie after the XML."""
    data = xml + b"\0" + (cookie + b"\0" if cookie else b"")
    head = b"LibvirtQemudSave" + struct.pack("<5I", 2, len(data), 1, 0, len(xml) + 1 if cookie else 0) + bytes(56)
    return head + data + memory


@pytest.mark.parametrize("cookie", [b"", b"<cookie/>"])
@pytest.mark.parametrize("memory", [b"", b"m" * 70000, bytes(range(256)) * 300])
def test_the_memory_goes_over_byte_for_byte(tmp_path: Path, cookie: bytes, memory: bytes) -> None:
    source, target = tmp_path / "template.save", tmp_path / "db1.save"
    source.write_bytes(libvirts_own(b"<domain><name>t</name></domain>", cookie, memory))
    target.write_bytes(b"an older one")
    rewrite(source, target, "<domain><name>db1 {ä}</name></domain>")
    with target.open("rb") as stream:
        head = read_head(stream, "x")
        assert stream.read() == memory
    assert head.xml == "<domain><name>db1 {ä}</name></domain>"
    assert head.cookie == cookie.decode()
    assert target.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.glob(".*")) == []


WHOLE = libvirts_own(b"<domain/>", b"<cookie/>", b"memory")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        WHOLE[:50],
        WHOLE[:100],
        b"LibvirtQemudPart" + WHOLE[16:],
        WHOLE[:16] + struct.pack("<I", 3) + WHOLE[20:],
        WHOLE[:20] + struct.pack("<I", 0) + WHOLE[24:],
        WHOLE[:20] + struct.pack("<I", 1 << 31) + WHOLE[24:],
        WHOLE[:32] + struct.pack("<I", 5000) + WHOLE[36:],
        b"QFI\xfb" + bytes(200),
    ],
)
def test_nothing_else_is_taken_for_it(tmp_path: Path, data: bytes) -> None:
    source, target = tmp_path / "template.save", tmp_path / "db1.save"
    source.write_bytes(data)
    with pytest.raises(BadSaveFile, match=r"template\.save"):
        rewrite(source, target, "<domain/>")
    assert not target.exists()
