"""Documents for libvirt survive the plugin's way in: a real xsltproc, whatever characters stand in them."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.libvirt_xml import (
    CardSpec,
    DomainSpec,
    cmdline_maps,
    domain_arguments,
    domain_xml,
    network_arguments,
    network_xml,
    replacing_xslt,
    volume_xml,
    with_links_down,
)

SPEC = DomainSpec(
    name="stage-db1",
    uuid="6b1f3b3e-52c5-5cf3-9d11-0a5d2a8ac6a1",
    owner="understudy/stage/a2ad7316",
    vcpus=2,
    memory_mib=1024,
    kernel="/images/vmlinuz",
    initrd="/images/initrd.img",
    cmdline="root=/dev/vda rw quiet",
    system_disk="/stacks/db1-system.qcow2",
    data_disk="/stacks/db1-data.qcow2",
    control=CardSpec(network="stage-control", mac="52:54:00:00:00:01", tap="us123456c000001", isolated=True),
    mirror=CardSpec(network="stage-mirror", mac="52:54:00:00:00:02"),
)
NASTY = st.text(st.characters(exclude_categories=("C", "Z")) | st.sampled_from("{}&<>'\"$`\\ ;%"), min_size=1).map(
    lambda text: f"a{text}z"
)


def replaced(xslt: str, directory: Path) -> str:
    sheet, other = directory / "sheet.xsl", directory / "other.xml"
    sheet.write_text(xslt, encoding="utf-8")
    other.write_text("<domain type='kvm'><name>other</name><devices/></domain>", encoding="utf-8")
    argv = ["xsltproc", "--nomkdir", "--nonet", "--nowrite", str(sheet), str(other)]
    return subprocess.run(argv, check=True, capture_output=True, timeout=30).stdout.decode()


def canonical(xml: str) -> str:
    return ET.canonicalize(xml, rewrite_prefixes=True)


@settings(max_examples=40)
@given(name=NASTY, path=NASTY, cmdline=NASTY, tap=NASTY)
def test_any_characters_survive_xsltproc(
    tmp_path_factory: pytest.TempPathFactory, name: str, path: str, cmdline: str, tap: str
) -> None:
    spec = replace(SPEC, name=name, system_disk=path, cmdline=cmdline, control=replace(SPEC.control, tap=tap))
    xml = domain_xml(spec)
    assert canonical(replaced(replacing_xslt(xml), tmp_path_factory.mktemp("xslt"))) == canonical(xml)
    root = ET.fromstring(xml)
    assert (root.findtext("name"), root.findtext("os/cmdline")) == (name, cmdline)


@pytest.mark.parametrize("text", ["a\nb", "a\tb", "\x00", "\x7f", "a\u2028b", "\ud800"])
def test_what_cannot_be_printed_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="cannot be printed"):
        domain_xml(replace(SPEC, name=text))


@pytest.mark.parametrize(
    "xml",
    [
        network_xml("a{b}", "usabcdefm"),
        network_xml("a&b", "usabcdefc", "198.18.7.1", 24),
        volume_xml("a<b>.qcow2", 1024, "/images/{x}/disk.qcow2"),
    ],
)
def test_networks_and_volumes_survive_too(xml: str, tmp_path: Path) -> None:
    assert canonical(replaced(replacing_xslt(xml), tmp_path)) == canonical(xml)


def addresses(spec: DomainSpec) -> list[tuple[str, str]]:
    devices = ET.fromstring(domain_xml(spec)).find("devices")
    assert devices is not None
    return [
        (device.tag, slot)
        for device in devices
        if (address := device.find("address")) is not None and (slot := address.get("slot", ""))
    ]


def test_each_device_has_its_own_place_and_a_machine_without_one_leaves_it_free() -> None:
    whole = addresses(SPEC)
    assert len({slot for _, slot in whole}) == len(whole) == 8
    assert set(addresses(replace(SPEC, data_disk="", mirror=None))) < set(whole)


def test_only_the_links_differ_in_a_machine_that_wakes() -> None:
    xml = domain_xml(SPEC)
    assert [link.get("state") for link in ET.fromstring(xml).iter("link")] == ["up", "up"]
    assert with_links_down(xml).replace('<link state="down"', '<link state="up"') == xml
    assert with_links_down(xml).count('<link state="down"') == 2


def test_a_template_carries_no_owner() -> None:
    assert "metadata" not in domain_xml(replace(SPEC, owner=""))
    assert "understudy/stage/a2ad7316" in domain_xml(SPEC)


def test_an_image_that_boots_by_itself_has_no_kernel() -> None:
    root = ET.fromstring(domain_xml(replace(SPEC, kernel="")))
    assert root.find("os/kernel") is None
    assert [kind.get("machine") for kind in root.iter("type")] == ["pc"]
    assert not list(root.iterfind("devices/controller[@type='pci']"))
    assert [boot.get("dev") for boot in root.iter("boot")] == ["hd"]
    assert "kernel" not in domain_arguments(replace(SPEC, kernel=""))


def test_no_two_arguments_differ_from_what_the_plugin_reads_back() -> None:
    arguments = domain_arguments(SPEC)
    assert arguments["cmdlines"] == [{"root": "/dev/vda"}, {"_": "rw quiet"}]
    assert [card["mac"] for card in arguments["network_interfaces"]] == ["52:54:00:00:00:01", "52:54:00:00:00:02"]
    assert network_arguments("n", "b", "198.18.7.1", 24)["addresses"] == ["198.18.7.0/24"]


@given(st.lists(st.sampled_from(["quiet", "rw", "a=1", "a=2", "b=", "c=d=e"])))
def test_a_command_line_loses_nothing(words: list[str]) -> None:
    maps = cmdline_maps(" ".join(words))
    back = [f"{key}={value}" for entry in maps for key, value in entry.items() if key != "_"]
    back += [flag for entry in maps for flag in entry.get("_", "").split(" ") if flag]
    assert sorted(back) == sorted(words)
