"""What cloud-init is told: one document a file, in which no name can say more than a name."""

from __future__ import annotations

import json
from typing import Any

import yaml

from model.cloud_init import hosts_text, seed_files

IDENTITY: dict[str, Any] = {
    "hostname": "db1",
    "domain": "shop.example",
    "hosts": [{"address": "10.20.0.31", "names": ["db1.shop.example", "db1"]}],
    "authorized_keys": ["ssh-ed25519 AAAA: {evil: true} #"],
    "cards": {
        "control": {"mac": "52:54:00:AA:00:01", "address": "198.18.7.10", "prefix": 24.0},
        "mirror": {"mac": "52:54:00:aa:00:02", "address": "10.20.0.31", "prefix": 24.0},
    },
}
FILES = seed_files(IDENTITY, instance="one", private_key="-----BEGIN\nkey\n-----END\n", public_key="ssh-ed25519 BBBB")


def test_each_file_is_one_document_for_json_and_yaml_alike() -> None:
    assert set(FILES) == {"meta-data", "user-data", "network-config"}
    assert FILES["user-data"].startswith("#cloud-config\n")
    for text in FILES.values():
        assert yaml.safe_load(text) == json.loads(text.removeprefix("#cloud-config\n"))


def test_it_is_told_its_name_and_who_may_come_in_and_with_which_host_key() -> None:
    told = yaml.safe_load(FILES["user-data"])
    assert yaml.safe_load(FILES["meta-data"]) == {"instance-id": "one", "local-hostname": "db1"}
    assert (told["hostname"], told["fqdn"]) == ("db1", "db1.shop.example")
    assert told["ssh_authorized_keys"] == IDENTITY["authorized_keys"]
    assert told["ssh_keys"] == {"ed25519_private": "-----BEGIN\nkey\n-----END\n", "ed25519_public": "ssh-ed25519 BBBB"}
    assert (told["users"], told["disable_root"], told["ssh_pwauth"]) == ([], False, False)


def test_both_cards_have_their_addresses_and_ask_for_nothing() -> None:
    cards = yaml.safe_load(FILES["network-config"])["ethernets"]
    assert {name: card["match"]["macaddress"] for name, card in cards.items()} == {
        "eth0": "52:54:00:aa:00:01",
        "eth1": "52:54:00:aa:00:02",
    }
    assert {name: card["addresses"] for name, card in cards.items()} == {
        "eth0": ["198.18.7.10/24"],
        "eth1": ["10.20.0.31/24"],
    }
    for card in cards.values():
        assert (card["dhcp4"], card["dhcp6"], card["accept-ra"], card["link-local"]) == (False, False, False, [])
        assert "gateway4" not in card
        assert "routes" not in card


def test_a_machine_that_no_list_names_finds_itself() -> None:
    assert "127.0.1.1 db1\n" in hosts_text({**IDENTITY, "hosts": []})
    assert "127.0.1.1" not in hosts_text(IDENTITY)
