"""The kernel's settings, without its counters, and without its secrets."""

from __future__ import annotations

import re
from collections.abc import Mapping

from provisioners.facts.fact import ROOT, Fact

# Counters, names and moments, which are no settings; and keys that encrypt.
_NOT_SETTINGS = re.compile(
    r"fs\.(aio-nr|dentry-state|file-nr|inode-nr|inode-state|quota\.)|fs\.binfmt_misc\.|dev\.(cdrom|raid|hpet)"
    r"|kernel\.(random\.|hostname|domainname|ns_last_pid|pty\.nr|version|osrelease|tainted|bootloader_|"
    r"sched_domain\.|firmware_config|spl\.|usermodehelper\.|keys\.|cap_last_cap|max_lock_depth|arch|ostype)"
    r"|net\.netfilter\.nf_conntrack_(count|buckets)|net\.nf_conntrack|net\.ipv4\.tcp_fastopen_key"
    r"|net\.ipv6\.conf\..*\.stable_secret|net\.ipv6\.route\.gc_|vm\.stat_refresh|sunrpc\.|debug\."
)
_CARD = re.compile(r"(net\.(?:ipv4|ipv6|mpls)\.(?:conf|neigh))\.(.+)\.([a-z0-9_]+)")
_EVERY_CARD = frozenset({"all", "default"})


def parse(output: str) -> dict[str, str]:
    r"""Return the settings by name.

    >>> parse("vm.swappiness = 60\nkernel.hostname = db1\nnet.ipv4.tcp_rmem = 4096\t131072\t6291456\n")
    {'vm.swappiness': '60', 'net.ipv4.tcp_rmem': '4096 131072 6291456'}
    """
    found = {}
    for line in output.splitlines():
        key, separator, value = line.partition(" = ")
        if separator and not _NOT_SETTINGS.match(key):
            found[key] = " ".join(value.split())
    return found


def by_card(settings: Mapping[str, str], cards: Mapping[str, str]) -> dict[str, str]:
    """Return the settings with each network card called by what it is for: its name is each machine's own.

    Args:
        settings: by name, as `parse` returns them.
        cards: what a card is for, by its name, such as ``10.20.0.31`` for the one with that address.

    >>> by_card({"net.ipv4.conf.eth1.rp_filter": "2", "net.ipv4.conf.all.rp_filter": "0"}, {"eth1": "10.20.0.31"})
    {'net.ipv4.conf.card 10.20.0.31.rp_filter': '2', 'net.ipv4.conf.all.rp_filter': '0'}
    """
    found = {}
    for key, value in settings.items():
        match = _CARD.fullmatch(key)
        if match is None or match[2] in _EVERY_CARD:
            found[key] = value
            continue
        name = match[2].replace("/", ".")  # sysctl(8) writes a dot within a name as a slash
        found[f"{match[1]}.card {cards.get(name, name)}.{match[3]}"] = value
    return found


SETTINGS = Fact(name="kernel settings", argv=("sysctl", "--all"), parse=parse, user=ROOT, codes=(0, 1, 255))
