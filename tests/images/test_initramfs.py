"""The initial RAM disk: drivers in order, and an archive that the kernel's own form is read back from."""

from __future__ import annotations

import stat

import pytest

from images.initramfs import archive, entries, load_order

DEP = """kernel/drivers/virtio/virtio.ko: kernel/drivers/virtio/virtio_ring.ko
kernel/drivers/virtio/virtio_ring.ko:
kernel/drivers/block/virtio_blk.ko: kernel/drivers/virtio/virtio.ko kernel/drivers/virtio/virtio_ring.ko
kernel/net/core/failover.ko:
kernel/drivers/net/net_failover.ko: kernel/net/core/failover.ko
kernel/drivers/net/virtio_net.ko.xz: kernel/drivers/net/net_failover.ko kernel/net/core/failover.ko
"""


def test_each_driver_comes_once_and_after_what_it_needs() -> None:
    order = load_order(["virtio-blk", "virtio_net"], DEP, "")
    names = [path.rsplit("/", 1)[-1] for path in order]
    assert names == [
        "virtio_ring.ko", "virtio.ko", "virtio_blk.ko", "failover.ko", "net_failover.ko", "virtio_net.ko.xz",
    ]  # fmt: skip


def test_a_driver_inside_the_kernel_needs_no_loading() -> None:
    assert load_order(["ext4"], DEP, "kernel/fs/ext4/ext4.ko\n") == ()


def test_a_driver_that_there_is_not() -> None:
    with pytest.raises(KeyError):
        load_order(["floppy"], DEP, "")


def test_directories_come_before_what_is_in_them() -> None:
    listed = entries(b"#!", [("Json.pm", b"1;")], {"usr/bin/perl": b"\x7fELF"}, {"a.ko": b"a", "b.ko": b"b"})
    seen: set[str] = set()
    for path, mode, _ in listed:
        parent = path.rpartition("/")[0]
        assert not parent or parent in seen
        if stat.S_ISDIR(mode):
            seen.add(path)
    contents = {path: content for path, _, content in listed}
    assert contents["modules/order"] == b"a.ko\nb.ko\n"
    assert {"dev", "proc", "sys", "root"} <= seen


def members(data: bytes) -> dict[str, tuple[int, bytes]]:
    """Read an archive as the kernel does: mode and content by path."""
    found: dict[str, tuple[int, bytes]] = {}
    at = 0
    while True:
        assert data[at : at + 6] == b"070701"
        fields = [int(data[start : start + 8], 16) for start in range(at + 6, at + 110, 8)]
        name = data[at + 110 : at + 109 + fields[11]].decode()
        start = -(-(at + 110 + fields[11]) // 4) * 4
        at = -(-(start + fields[6]) // 4) * 4
        if name == "TRAILER!!!":
            assert at == len(data)
            return found
        found[name] = (fields[1], data[start : start + fields[6]])


def test_the_archive_is_read_back_whole() -> None:
    listed = entries(b"#!/usr/bin/perl\n", [], {"usr/bin/perl": bytes(range(256)) * 17, "usr/lib/odd": b"123"}, {})
    assert members(archive(listed)) == {path: (mode, content) for path, mode, content in listed}
    assert archive(listed) == archive(listed)
