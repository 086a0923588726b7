"""What cloud-init is told at the first boot of a machine that is not of the project's image. Pure.

The files of a NoCloud disk. They are JSON, which every YAML parser reads, and in which nothing has to be quoted twice.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

CARDS = {"control": "eth0", "mirror": "eth1"}
"""What the cards are called in the machine, as in the project's own image."""


def seed_files(identity: Mapping[str, Any], *, instance: str, private_key: str, public_key: str) -> dict[str, str]:
    """Return the contents of a NoCloud disk, by file name.

    Args:
        identity: hostname, domain, hosts, authorized_keys and cards, as the machine's ``Boot`` has them.
        instance: names this one telling; with another, cloud-init does everything again.
        private_key: a host key for SSH that is good until the first contact: whoever is on the machine can read it.
        public_key: its public half.

    Source: cloud-init 22.4, "NoCloud", "Networking Config Version 2", and the modules' references.
    """
    return {
        "meta-data": _json({"instance-id": instance, "local-hostname": identity["hostname"]}),
        "user-data": user_data(identity, private_key=private_key, public_key=public_key),
        "network-config": _json(network_config(identity["cards"])),
    }


def user_data(identity: Mapping[str, Any], *, private_key: str, public_key: str) -> str:
    """Return what cloud-init does at the first boot: name, keys, and nothing that only costs seconds.

    Args:
        identity: with hostname, domain and authorized_keys.
        private_key: a host key for SSH that is good until the first contact: others can read this text, on the machine
            and in a cloud's own records.
        public_key: its public half.
    """
    name, domain = identity["hostname"], identity.get("domain") or ""
    told = {
        "hostname": name,
        "fqdn": f"{name}.{domain}" if domain else name,
        "prefer_fqdn_over_hostname": False,
        "users": [],  # not even the distribution's own
        "disable_root": False,
        "ssh_pwauth": False,
        "ssh_authorized_keys": list(identity["authorized_keys"]),
        "ssh_deletekeys": True,
        "ssh_keys": {"ed25519_private": private_key, "ed25519_public": public_key},
        # Of no use here, and each costs seconds.
        "locale": False,
        "grub_dpkg": {"enabled": False},
        "apt": {"preserve_sources_list": True},
        "ssh": {"emit_keys_to_console": False},
        "no_ssh_fingerprints": True,
    }
    return f"#cloud-config\n{_json(told)}"


def network_config(cards: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the cards' addresses as netplan has them: nothing is asked for, and nothing leads further.

    >>> card = {"mac": "52:54:00:00:00:01", "address": "198.18.7.10", "prefix": 24}
    >>> network_config({"control": card})["ethernets"]["eth0"]["addresses"]
    ['198.18.7.10/24']
    """
    quiet = {"dhcp4": False, "dhcp6": False, "accept-ra": False, "link-local": []}
    return {
        "version": 2,
        "ethernets": {
            CARDS[name]: {
                "match": {"macaddress": card["mac"].lower()},
                "set-name": CARDS[name],
                "addresses": [f"{card['address']}/{int(card['prefix'])}"],
                **quiet,
            }
            for name, card in cards.items()
        },
    }


def hosts_text(identity: Mapping[str, Any]) -> str:
    """Return the machine's ``/etc/hosts``, as the project's own image has it.

    >>> print(hosts_text({"hostname": "db1", "hosts": [{"address": "10.0.0.1", "names": ["db1.shop", "db1"]}]}), end="")
    127.0.0.1 localhost
    ::1 localhost ip6-localhost ip6-loopback
    10.0.0.1 db1.shop db1
    """
    own, hosts = identity["hostname"], identity["hosts"]
    known = any(own in host["names"] for host in hosts)
    lines = [
        "127.0.0.1 localhost",
        "::1 localhost ip6-localhost ip6-loopback",
        *([] if known else [f"127.0.1.1 {own}"]),
    ]
    return "".join(f"{line}\n" for line in (*lines, *(" ".join((host["address"], *host["names"])) for host in hosts)))


def _json(value: object) -> str:
    return json.dumps(value, indent=1) + "\n"
