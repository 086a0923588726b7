"""What libvirt is told about machines, networks and volumes: whole documents, made from values.

One layout of devices, the same for a template and for the clones that wake from its memory. The libvirt plugin takes
our documents through its ``xml.xslt``: a stylesheet that throws its own document away (:func:`replacing_xslt`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from ipaddress import IPv4Interface
from typing import Any
from xml.etree import ElementTree as ET

OWNER_NAMESPACE = "https://understudy.invalid/owner"
COLD_NAMESPACE = "https://understudy.invalid/cold"
"""Where the libvirt plugin (``provider/wake.go`` says the same) notes beside a domain why it did not wake."""
TRANSLATED_MIB = 128
"""Memory for the translated code of an emulated machine, which qemu else lets grow to 1 GiB beside the machine's own.

Source: qemu 7.2, ``tcg/region.c``. Measured: a machine of 512 MiB took 1650 MiB; with this limit, work that translates
much took 5 percent more processor time, and a boot none.
"""
_PORTS, _FIRST_PORT = 2, 0x0A
"""For the disk with a backup while it is restored from, and one to spare."""
IDENTITY_PORT = "understudy.identity.0"
MEMORY_BLOCK = "understudy.ram"
"""What qemu calls the memory of a machine that wakes from a file, also in its stream."""
_QEMU = "http://libvirt.org/schemas/domain/qemu/1.0"
_XSL = "http://www.w3.org/1999/XSL/Transform"
_MIB = 1024 * 1024
ET.register_namespace("understudy", OWNER_NAMESPACE)
ET.register_namespace("qemu", _QEMU)
ET.register_namespace("xsl", _XSL)


@dataclass(frozen=True, slots=True, kw_only=True)
class CardSpec:
    """One network card.

    Args:
        network: libvirt network that it is plugged into; empty for a cable that ends nowhere.
        mac: its address, such as ``52:54:00:12:34:56``.
        tap: name of its end on the host, at most 15 characters; the fence knows cards by it. Empty: libvirt's choice.
        isolated: whether other isolated cards of the same bridge are out of reach.
    """

    network: str
    mac: str
    tap: str = ""
    isolated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainSpec:
    """One machine, as libvirt is to run it.

    Args:
        owner: mark of the stack that it belongs to; empty for a template, which belongs to the host.
        kernel: path of the kernel on the host; empty for an image that boots by itself.
        system_disk: path of the qcow2 file; ``vda`` in the machine.
        data_disk: path of the qcow2 file; ``vdb`` in the machine; empty for none.
        control: the card through which the controller comes; ``eth0``.
        mirror: the card with prod's address; ``eth1``; None for a machine without it.
        accelerator: ``kvm`` or ``tcg``.
    """

    name: str
    uuid: str
    vcpus: int
    memory_mib: int
    system_disk: str
    control: CardSpec
    mirror: CardSpec | None = None
    owner: str = ""
    kernel: str = ""
    initrd: str = ""
    cmdline: str = ""
    data_disk: str = ""
    accelerator: str = "tcg"


def domain_xml(spec: DomainSpec) -> str:
    """Return the whole document of a domain. Devices always have the same places on the bus.

    Raises:
        ValueError: a text has a character that no name, path or command line has (such as a line break).
    """
    root = ET.Element("domain", {"type": _domain_type(spec.accelerator)})
    _add(root, "name", spec.name)
    _add(root, "uuid", spec.uuid)
    if spec.owner:
        _add(_add(root, "metadata"), f"{{{OWNER_NAMESPACE}}}owner", spec.owner)
    _add(root, "memory", str(spec.memory_mib), unit="MiB")
    _add(root, "vcpu", str(spec.vcpus), placement="static")
    _add_boot(root, spec)
    features = _add(root, "features")
    _add(features, "acpi")
    _add(features, "apic")
    if spec.accelerator == "tcg":
        _add(_add(features, "tcg"), "tb-cache", str(TRANSLATED_MIB), unit="MiB")
    _add_processor(root, spec)
    _add(root, "clock", offset="utc")
    _add(root, "on_poweroff", "destroy")
    _add(root, "on_reboot", "restart")
    _add(root, "on_crash", "destroy")
    _add_devices(_add(root, "devices"), spec)
    if spec.accelerator == "tcg":
        _leave_processor_alone(root)
    return _text(root)


def parsed(xml: str) -> ET.Element:
    """Return a document's root. The document is ours or libvirt's, which writes no entities that could grow.

    Raises:
        xml.etree.ElementTree.ParseError: it is not a document.
    """
    return ET.fromstring(xml)  # noqa: S314  # see above


def with_links_down(xml: str) -> str:
    """Return the same machine with its cables out: so it wakes, until it knows who it is."""
    root = parsed(xml)
    for link in root.iterfind("devices/interface/link"):
        link.set("state", "down")
    return _text(root)


def with_memory_of(xml: str, path: str, size: int) -> str:
    """Return the same machine with a file's content as its memory. What the machine writes, it alone has.

    Args:
        xml: the machine, as `domain_xml` has it.
        path: the file; qemu must be allowed to write to it, and does not.
        size: bytes of the machine's memory, and of the file.

    Source: qemu 7.2, qemu(1): the last ``-machine`` counts, and ``share=off`` maps the file privately.
    """
    root = parsed(xml)
    backend = {"qom-type": "memory-backend-file", "id": MEMORY_BLOCK, "mem-path": path, "size": size, "share": False}
    words = _add(root, f"{{{_QEMU}}}commandline")
    for word in ("-object", json.dumps(backend), "-machine", f"memory-backend={MEMORY_BLOCK}"):
        _add(words, f"{{{_QEMU}}}arg", value=word)
    return _text(root)


def network_xml(name: str, bridge: str, address: str = "", prefix: int = 0) -> str:
    """Return a network without a way out: no forwarding, no DHCP, no DNS.

    Args:
        name: the network's name.
        bridge: its bridge's name on the host.
        address: the host's own address on it; empty where the host has none.
        prefix: length of the network's prefix in bits, where there is an address.
    """
    root = ET.Element("network")
    _add(root, "name", name)
    _add(root, "bridge", name=bridge, stp="off", delay="0")
    _add(root, "dns", enable="no")
    if address:
        _add(root, "ip", family="ipv4", address=address, prefix=str(prefix))
    return _text(root)


def volume_xml(name: str, capacity_mib: int, backing_path: str = "") -> str:
    """Return a qcow2 volume that only root and qemu can read; with a backing file it is a linked clone."""
    root = ET.Element("volume", {"type": "file"})
    _add(root, "name", name)
    _add(root, "capacity", str(capacity_mib * _MIB), unit="bytes")
    target = _add(root, "target")
    _add(target, "format", type="qcow2")
    _add(_add(target, "permissions"), "mode", "0600")
    if backing_path:
        store = _add(root, "backingStore")
        _add(store, "path", backing_path)
        _add(store, "format", type="qcow2")
    return _text(root)


def replacing_xslt(xml: str) -> str:
    """Return a stylesheet that puts this document in the place of any other.

    >>> replacing_xslt('<a b="{c}">d</a>').count("{{c}}")
    1

    Raises:
        xml.etree.ElementTree.ParseError: it is not a document.
    """
    document = parsed(xml)
    for element in document.iter():
        for key, value in element.attrib.items():
            element.set(key, value.replace("{", "{{").replace("}", "}}"))  # or XSLT would evaluate it
    sheet = ET.Element(f"{{{_XSL}}}stylesheet", {"version": "1.0"})
    ET.SubElement(sheet, f"{{{_XSL}}}output", {"method": "xml", "omit-xml-declaration": "yes"})
    ET.SubElement(sheet, f"{{{_XSL}}}template", {"match": "/"}).append(document)
    return _text(sheet, checked=False)


def replaced_by(xslt: str) -> str:
    """Return the document that a stylesheet of `replacing_xslt` puts in the place of any other, to be read by a person.

    Another text, such as that of a value that is not known yet, gives nothing.

    >>> print(replaced_by(replacing_xslt('<a><b c="{d}">e</b></a>')))
    <a>
      <b c="{d}">e</b>
    </a>
    """
    if not xslt.startswith("<"):
        return ""
    sheet = parsed(xslt)
    document = next((child for template in sheet.iterfind(f"{{{_XSL}}}template") for child in template), None)
    if document is None:
        return ""
    for element in document.iter():
        for key, value in element.attrib.items():
            element.set(key, value.replace("{{", "{").replace("}}", "}"))
    ET.indent(document)
    return _text(document, checked=False)


def indented(xml: str) -> str:
    """Return a document to be read by a person.

    >>> print(indented("<a><b/></a>"))
    <a>
      <b />
    </a>
    """
    document = parsed(xml)
    ET.indent(document)
    return _text(document, checked=False)


def domain_arguments(spec: DomainSpec) -> dict[str, Any]:
    """Return what the plugin's ``Domain`` is given beside its disks: what it later reads back from the real domain.

    Source: terraform-provider-libvirt 0.8.3, ``resourceLibvirtDomainRead``.
    """
    arguments: dict[str, Any] = {
        "name": spec.name,
        "type": _domain_type(spec.accelerator),
        "vcpu": spec.vcpus,
        "memory": spec.memory_mib,
        "network_interfaces": [
            {"network_name": card.network, "mac": card.mac.upper()} for card in (spec.control, spec.mirror) if card
        ],
        "running": True,
        "xml": {"xslt": replacing_xslt(domain_xml(spec))},
    }
    if spec.kernel:
        arguments |= {"kernel": spec.kernel, "initrd": spec.initrd, "cmdlines": cmdline_maps(spec.cmdline)}
    return arguments


def network_arguments(name: str, bridge: str, address: str = "", prefix: int = 0) -> dict[str, Any]:
    """Return what the plugin's ``Network`` is given: what it later reads back from the real network."""
    arguments: dict[str, Any] = {
        "name": name,
        "bridge": bridge,
        "mode": "none",
        "autostart": True,
        "xml": {"xslt": replacing_xslt(network_xml(name, bridge, address, prefix))},
    }
    if address:
        arguments["addresses"] = [str(IPv4Interface(f"{address}/{prefix}").network)]
    return arguments


def cmdline_maps(cmdline: str) -> list[dict[str, str]]:
    """Return a kernel's command line as the plugin reads it back.

    Source: terraform-provider-libvirt 0.8.3, ``splitKernelCmdLine``.

    >>> cmdline_maps("root=/dev/vda rw quiet a=1 a=2")
    [{'root': '/dev/vda', 'a': '1'}, {'a': '2'}, {'_': 'rw quiet'}]
    """
    maps: list[dict[str, str]] = [{}]
    flags: list[str] = []
    for word in cmdline.split(" ") if cmdline else ():
        key, equals, value = word.partition("=")
        if not equals:
            flags.append(word)
            continue
        if key in maps[-1]:
            maps.append({})
        maps[-1][key] = value
    return [entry for entry in (*maps, {"_": " ".join(flags)} if flags else {}) if entry]


def _domain_type(accelerator: str) -> str:
    return {"tcg": "qemu", "kvm": "kvm"}[accelerator]


def _add_processor(root: ET.Element, spec: DomainSpec) -> None:
    if spec.accelerator == "kvm":
        processor = _add(root, "cpu", mode="host-passthrough", check="none", migratable="on")
    else:
        processor = _add(root, "cpu", mode="custom", match="exact", check="none")
        _add(processor, "model", "Nehalem", fallback="forbid")
    # As qemu itself has it. Libvirt would make each a processor of its own, which a boot takes longer to bring up.
    _add(processor, "topology", sockets="1", dies="1", cores=str(spec.vcpus), threads="1")
    if spec.accelerator == "tcg":
        _add(processor, "feature", policy="require", name="rdrand")  # or early boot waits for randomness


def _leave_processor_alone(root: ET.Element) -> None:
    """Have libvirt ask qemu for its processor's features at once, not for each of some 400 by itself: 0.2 s a start.

    Source: libvirt 9.0, ``qemuProcessFetchGuestCPU``; what libvirt then knows of the processor is the same.
    """
    capabilities = _add(root, f"{{{_QEMU}}}capabilities")
    _add(capabilities, f"{{{_QEMU}}}del", capability="cpu-unavailable-features")


def _add_boot(root: ET.Element, spec: DomainSpec) -> None:
    boot = _add(root, "os")
    _add(boot, "type", "hvm", arch="x86_64", machine="q35" if spec.kernel else "pc")
    if not spec.kernel:
        _add(boot, "boot", dev="hd")
        return
    _add(boot, "kernel", spec.kernel)
    _add(boot, "initrd", spec.initrd)
    _add(boot, "cmdline", spec.cmdline)


def _add_devices(devices: ET.Element, spec: DomainSpec) -> None:
    if spec.kernel:
        _add_ports(devices)
    _add_card(devices, spec.control, slot=3)
    if spec.mirror:
        _add_card(devices, spec.mirror, slot=4)
    _at(_add(devices, "controller", type="virtio-serial", index="0", ports="2"), slot=5)
    channel = _add(devices, "channel", type="unix")
    _add(channel, "target", type="virtio", name=IDENTITY_PORT)
    _add(channel, "address", type="virtio-serial", controller="0", bus="0", port="1")
    _add_disk(devices, spec.system_disk, "vda", slot=6)
    if spec.data_disk:
        _add_disk(devices, spec.data_disk, "vdb", slot=7)
    random = _add(devices, "rng", model="virtio")
    _add(random, "backend", "/dev/urandom", model="random")
    _at(random, slot=8)
    _add(_add(devices, "serial", type="pty"), "target", type="isa-serial", port="0")
    _add(devices, "controller", type="usb", index="0", model="none")
    _add(devices, "memballoon", model="none")  # it would punch holes into the template's memory that others have mapped


def _add_ports(devices: ET.Element) -> None:
    """Add what disks are plugged into while the machine runs: on a q35, nothing can be on the bus itself.

    Our kernel boots on a q35 in half a second less than on a pc. What a user's image needs is not known: it gets a pc.
    """
    _add(devices, "controller", type="pci", index="0", model="pcie-root")
    for number in range(_PORTS):
        port = _add(devices, "controller", type="pci", index=str(number + 1), model="pcie-root-port")
        _at(port, slot=_FIRST_PORT + number)


def _add_card(devices: ET.Element, card: CardSpec, slot: int) -> None:
    interface = _add(devices, "interface", type="network" if card.network else "ethernet")
    _add(interface, "mac", address=card.mac)
    if card.network:
        _add(interface, "source", network=card.network)
    if card.isolated:
        _add(interface, "port", isolated="yes")
    if card.tap:
        _add(interface, "target", dev=card.tap)
    _add(interface, "model", type="virtio")
    _add(interface, "link", state="up")
    _add(interface, "rom", enabled="no")  # nothing boots from the network, and loading this takes time
    _at(interface, slot=slot)


def _add_disk(devices: ET.Element, path: str, name: str, slot: int) -> None:
    disk = _add(devices, "disk", type="file", device="disk")
    _add(disk, "driver", name="qemu", type="qcow2", discard="unmap")
    _add(disk, "source", file=path)
    _add(disk, "target", dev=name, bus="virtio")
    _at(disk, slot=slot)


def _at(device: ET.Element, slot: int) -> None:
    _add(device, "address", type="pci", domain="0x0000", bus="0x00", slot=f"0x{slot:02x}", function="0x0")


def _add(parent: ET.Element, tag: str, text: str = "", **attributes: str) -> ET.Element:
    element = ET.SubElement(parent, tag, attributes)
    element.text = text or None
    return element


def _text(root: ET.Element, *, checked: bool = True) -> str:
    if checked:
        for element in root.iter():
            for value in (element.text or "", *element.attrib.values()):
                if not value.isprintable():
                    raise ValueError(f"{element.tag}: {value!r} has a character that cannot be printed")
    return ET.tostring(root, encoding="unicode")
