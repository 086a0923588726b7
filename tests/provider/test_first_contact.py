"""A machine in a cloud, with a real sshd: reached by a key that others can read, left with one that nobody else has."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from model.connection import Connection
from model.errors import UnderstudyError
from provisioners.hypervisor import own_image
from provisioners.outcome import ConnectionLost, WrongHostKey
from provisioners.provider.first_contact import FirstContact
from provisioners.shell import Shell, close_all, connect
from tests.doubles.sshd import Machine, keypair

KIND = FirstContact()
ROOT = Path(__file__).parents[2]
# Stands for systemctl: the SSH server is the machine's first process, and a reload makes it read its keys anew.
SYSTEMCTL = """#!/bin/bash
case "$*" in
*is-active*\\ ssh.service) exit 0 ;;
*reload*\\ ssh.service|*restart*\\ ssh.service) kill -HUP 1; exit 0 ;;
esac
exit 3
"""


class Booted(Machine):
    """A machine at its first boot: cloud-init has given it the key for the first contact, and its image others."""

    def _seed(self, seed: Path) -> None:
        super()._seed(seed)
        ssh = seed / "etc" / "ssh"
        config = (ssh / "sshd_config.double").read_text()
        (ssh / "sshd_config.double").write_text(config.replace("double_host_key", "ssh_host_ed25519_key"))
        (ssh / "double_host_key").rename(ssh / "ssh_host_ed25519_key")
        (ssh / "ssh_host_rsa_key").write_text("the image's")
        (seed / "usr" / "bin" / "systemctl").write_text(SYSTEMCTL)


@pytest.fixture
def machine() -> Iterator[Booted]:
    with Booted() as running:
        yield running
    close_all()


@pytest.fixture
def inputs(machine: Booted) -> dict[str, Any]:
    private, public = keypair()
    return {
        "machine_id": "i-0123456789abcdef0",
        "disk_ids": ["vol-0123456789abcdef0"],
        "first_public_key": f"{machine.host_key} db1",
        "host_private_key": private,
        "host_public_key": public,
        "identity": {
            "hostname": os.uname().nodename.split(".")[0],
            "domain": "shop.example",
            "hosts": [{"address": "10.20.0.10", "names": ["lb.shop.example", "lb"]}],
            "authorized_keys": [machine.public_key],
            "cards": {"mirror": {"address": "127.0.0.1", "prefix": 8}},
        },
        "connection": replace(machine.connection, host_key=public).values(),
        "private_key": machine.private_key,
    }


# Stands for Google's service that tells a machine its metadata.
METADATA = """#!/bin/bash
for address; do :; done
case $address in
http://169.254.169.254/computeMetadata/v1/instance/attributes/understudy-*) cat "/run/told/${address##*/understudy-}" ;;
*) exit 22 ;;
esac
"""


def say(_: str) -> None: ...


def answers(machine: Booted, host_key: str) -> bool:
    """Whether a new connection finds that key."""
    close_all()
    way = replace(machine.connection, host_key=host_key)
    try:
        with connect(way, machine.private_key, say, 5):
            return True
    except WrongHostKey:
        return False


def test_after_the_first_contact_it_has_its_own_key_and_no_other(machine: Booted, inputs: dict[str, Any]) -> None:
    assert KIND.check(inputs) == ()
    identifier, outputs = KIND.create(inputs, say)
    assert (identifier, outputs["started"]) == ("i-0123456789abcdef0", "cold")
    assert answers(machine, inputs["host_public_key"])
    assert not answers(machine, machine.host_key), "what anybody can read in the cloud opens nothing"
    ssh = machine.root / "etc/ssh"
    assert sorted(path.name for path in ssh.glob("ssh_host_*")) == ["ssh_host_ed25519_key", "ssh_host_ed25519_key.pub"]
    assert machine.host_key.split()[1] not in (ssh / "ssh_host_ed25519_key.pub").read_text()
    assert "10.20.0.10 lb.shop.example lb\n" in (machine.root / "etc/hosts").read_text()


@pytest.mark.parametrize("after", ["_wait_for_cloud_init", "_hand_over"])
def test_a_first_contact_that_was_cut_off_is_finished_by_the_next(
    machine: Booted, inputs: dict[str, Any], monkeypatch: pytest.MonkeyPatch, after: str
) -> None:
    def cut(*arguments: Any) -> None:
        original(*arguments)
        raise KeyboardInterrupt

    original = getattr(own_image, after)
    with monkeypatch.context() as patch:
        patch.setattr(own_image, after, cut)
        with pytest.raises(KeyboardInterrupt):
            KIND.create(inputs, say)
    close_all()
    KIND.create(inputs, say)
    assert answers(machine, inputs["host_public_key"])


def test_a_connection_that_breaks_while_the_key_is_changed_is_taken_up_again(
    machine: Booted, inputs: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    broken: list[int] = []
    original = own_image._hand_over

    def breaking(shell: Shell, given: dict[str, Any]) -> None:
        if not broken:
            broken.append(1)
            machine.drop_sessions()
        original(shell, given)

    monkeypatch.setattr(own_image, "_hand_over", breaking)
    KIND.create(inputs, say)
    assert broken
    assert answers(machine, inputs["host_public_key"])


def test_somebody_else_at_the_address_is_told_nothing(machine: Booted, inputs: dict[str, Any]) -> None:
    stranger = keypair()[1]
    with pytest.raises(WrongHostKey):
        KIND.create({**inputs, "first_public_key": stranger}, say)
    told = (machine.root / "etc/ssh/ssh_host_ed25519_key").read_text()
    assert inputs["host_private_key"] != told
    assert answers(machine, machine.host_key)


def test_a_machine_that_cloud_init_did_not_make_is_an_error(machine: Booted, inputs: dict[str, Any]) -> None:
    identity = {**inputs["identity"], "hostname": "db9"}
    with pytest.raises(UnderstudyError, match="cloud-init gave it the name") as caught:
        KIND.create({**inputs, "identity": identity}, say)
    assert not isinstance(caught.value, ConnectionLost)


def test_new_neighbours_and_another_controller_are_told_in_place(machine: Booted, inputs: dict[str, Any]) -> None:
    _, outputs = KIND.create(inputs, say)
    hosts = [{"address": "10.20.0.99", "names": ["new.shop.example", "new"]}]
    more = {**inputs, "identity": {**inputs["identity"], "hosts": hosts}, "disk_ids": ["vol-2"]}
    assert KIND.foresee(more, outputs)["generation"] != outputs["generation"]
    changed = KIND.update("i-0123456789abcdef0", inputs, more, outputs, say)
    assert changed["generation"] == KIND.foresee(more, outputs)["generation"], "another data disk is another machine"
    assert "10.20.0.99 new.shop.example new\n" in (machine.root / "etc/hosts").read_text()
    assert answers(machine, inputs["host_public_key"])


def test_a_wrong_input_is_refused(inputs: dict[str, Any]) -> None:
    wrong = {**inputs, "identity": {"hostname": "db1"}, "disks": []}
    assert {failure.property for failure in KIND.check(wrong)} == {"identity", "disks"}
    assert Connection(**inputs["connection"]).host_key == inputs["host_public_key"]


def test_googles_first_boot_takes_the_key_of_the_first_contact_once(machine: Booted, inputs: dict[str, Any]) -> None:
    private, public = keypair()
    told = machine.root / "run/told"
    told.mkdir()
    (told / "host-key").write_text(private)
    (told / "authorized-key").write_text(machine.public_key)
    (machine.root / "usr/bin/curl").write_text(METADATA)
    (machine.root / "usr/bin/curl").chmod(0o755)
    script = (ROOT / "components/backends/google_first_boot.sh").read_text()
    machine.inside("bash", "-c", script)
    assert answers(machine, public)
    assert (machine.root / "root/.ssh/authorized_keys").read_text() == machine.public_key
    assert f"{(machine.root / 'etc/ssh/ssh_host_ed25519_key').stat().st_mode:o}" == "100600"
    KIND.create({**inputs, "first_public_key": public}, say)
    assert answers(machine, inputs["host_public_key"])
    machine.inside("bash", "-c", script)
    assert answers(machine, inputs["host_public_key"]), "a later boot takes nothing back"
