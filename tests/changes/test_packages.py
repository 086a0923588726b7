"""Packages: real ones, made here, installed by the machine's own apt and dpkg, and taken back."""

from __future__ import annotations

import hashlib
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from model.errors import UnderstudyError
from provisioners.changes.apply import back_out, changes_on
from provisioners.changes.package_texts import package_path
from provisioners.shell import Shell, close_all
from tests.changes.values import SERVICE, quiet, read, tree
from tests.doubles.sshd import Machine

NAME = "understudy-demo"
CONFFILE = "/etc/understudy-demo.conf"
PLACES = ("/usr/share/understudy-demo", CONFFILE)
NO = [{"name": "no", "command": ["false"]}]


@pytest.fixture
def machine() -> Iterator[Machine]:
    with Machine() as running:
        yield running
        close_all()


@pytest.fixture(scope="module")
def debs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return packages with a file, a link and a configuration file, by version."""
    return {version: build(tmp_path_factory.mktemp("deb"), version) for version in ("1.0-1", "1:2.0~rc1-1")}


def build(folder: Path, version: str) -> Path:
    made = folder / "root"
    for path, text in {
        "DEBIAN/control": f"Package: {NAME}\nVersion: {version}\nArchitecture: all\n"
        "Maintainer: nobody <nobody@invalid>\nDescription: a package of the tests\n which does nothing\n",
        "DEBIAN/conffiles": f"{CONFFILE}\n",
        "DEBIAN/postinst": f"#!/bin/sh\nset -e\necho configured {version} >>/tmp/scripts\n",
        f"usr/share/{NAME}/it's a file": f"of {version}\n",
        CONFFILE.lstrip("/"): f"by the package {version}\n",
    }.items():
        (made / path).parent.mkdir(parents=True, exist_ok=True)
        (made / path).write_text(text)
        (made / path).chmod(0o755 if path.endswith("postinst") else 0o644)
    (made / "usr/share" / NAME / "link").symlink_to("it's a file")
    for folder_within in made.rglob("*/"):
        if folder_within.is_dir():
            folder_within.chmod(0o755)
    subprocess.run(
        ("dpkg-deb", "--build", "--root-owner-group", made, folder / "it.deb"), check=True, capture_output=True
    )
    return folder / "it.deb"


def inputs(machine: Machine, debs: dict[str, Path], version: str, **more: Any) -> dict[str, Any]:
    """Return a service of one package and its configuration file."""
    reach = {"connection": machine.connection.values(), "private_key": machine.private_key, "generation": "1"}
    digest = hashlib.sha256(debs[version].read_bytes()).hexdigest()
    packages = {NAME: {"version": version, "sha256": digest, "source": str(debs[version])}}
    files = {CONFFILE: {"content": "ours\n"}}
    return {**reach, "service": "demo", "packages": packages, "files": files, **more}


def installed(machine: Machine) -> str:
    """Return what dpkg knows of the package."""
    return machine.inside("dpkg-query", "-Wf", "${db:Status-Status} ${Version}", NAME, code=None)


def test_a_new_package_is_purged_again(machine: Machine, debs: dict[str, Path], shell: Shell) -> None:
    unknown = installed(machine)
    wanted = inputs(machine, debs, "1.0-1")
    assert SERVICE.check(wanted) == ()
    SERVICE.create(wanted, quiet)
    assert installed(machine) == "installed 1.0-1"
    now = tree(machine, *PLACES)
    assert now[CONFFILE.lstrip("/")] == ("100644", 0, 0, b"ours\n")
    assert read(wanted).inputs == wanted
    (change,) = changes_on(shell)
    said = back_out(shell, change)
    assert "somebody else" not in said, "what the package itself brought is nobody's"
    assert installed(machine) == unknown
    assert tree(machine, *PLACES) == {}
    assert read(wanted).inputs["packages"][NAME]["version"] == "(not installed)"


@pytest.mark.parametrize("kept", [True, False], ids=["from its file", "from what is installed"])
def test_the_earlier_version_comes_back(machine: Machine, debs: dict[str, Path], kept: bool) -> None:
    old, new = inputs(machine, debs, "1.0-1"), inputs(machine, debs, "1:2.0~rc1-1")
    SERVICE.create(old, quiet)
    before, files = tree(machine, *PLACES), machine.inside("dpkg-query", "-L", NAME)
    control = machine.inside("dpkg-query", "-s", NAME)
    if not kept:
        (machine.root / package_path(NAME, "1.0-1").lstrip("/")).unlink()
    with pytest.raises(UnderstudyError, match="The old configuration is back"):
        SERVICE.update("", old, {**new, "checks": NO}, {}, quiet)
    assert (machine.root / package_path(NAME, "1:2.0~rc1-1").lstrip("/")).exists()
    assert installed(machine) == "installed 1.0-1"
    assert tree(machine, *PLACES) == before
    assert machine.inside("dpkg-query", "-L", NAME) == files
    # What is made from what is installed takes the configuration file as it is for the package's own.
    digest = r"[0-9a-f]{32}" if not kept else "nothing"
    assert re.sub(digest, "", machine.inside("dpkg-query", "-s", NAME)) == re.sub(digest, "", control)
    assert "configured 1:2.0~rc1-1" in (machine.root / "tmp/scripts").read_text()
    SERVICE.update("", old, new, {}, quiet)
    assert installed(machine) == "installed 1:2.0~rc1-1"
    assert (machine.root / CONFFILE.lstrip("/")).read_text() == "ours\n"


def test_a_service_that_is_taken_away_leaves_what_its_package_wrote(
    machine: Machine, debs: dict[str, Path], shell: Shell
) -> None:
    wanted = inputs(machine, debs, "1.0-1")
    SERVICE.create(wanted, quiet)
    (machine.root / "usr/share/understudy-demo/data").write_text("x")
    SERVICE.delete("", wanted, {}, quiet)
    assert not installed(machine).startswith("installed")
    assert (machine.root / "usr/share/understudy-demo/data").exists()
    assert not (machine.root / CONFFILE.lstrip("/")).exists()
    back_out(shell, changes_on(shell)[0])
    assert installed(machine) == "installed 1.0-1"
    assert (machine.root / CONFFILE.lstrip("/")).read_text() == "ours\n"
    assert read(wanted).inputs == wanted


def test_a_package_comes_back_after_the_one_that_it_needs_even_to_be_unpacked(
    machine: Machine, tmp_path: Path, shell: Shell
) -> None:
    """As Debian's cron does; by name it is the first of the two."""
    packages = {}
    for name, needs in (("understudy-one", "Pre-Depends: understudy-two\n"), ("understudy-two", "")):
        control = tmp_path / name / "DEBIAN/control"
        control.parent.mkdir(parents=True)
        told = f"Package: {name}\nVersion: 1\nArchitecture: all\n{needs}Maintainer: nobody <nobody@invalid>\n"
        control.write_text(f"{told}Description: nothing\n")
        made = tmp_path / f"{name}.deb"
        subprocess.run(("dpkg-deb", "--build", tmp_path / name, made), check=True, capture_output=True)
        digest = hashlib.sha256(made.read_bytes()).hexdigest()
        packages[name] = {"version": "1", "sha256": digest, "source": str(made)}
    reach = {"connection": machine.connection.values(), "private_key": machine.private_key, "generation": "1"}
    wanted = {**reach, "service": "demo", "packages": packages}
    SERVICE.create(wanted, quiet)
    SERVICE.delete("", wanted, {}, quiet)
    assert {value["version"] for value in read(wanted).inputs["packages"].values()} == {"(not installed)"}
    back_out(shell, changes_on(shell)[0])
    assert read(wanted).inputs == wanted


def test_a_file_with_another_digest_is_not_even_sent(machine: Machine, debs: dict[str, Path], tmp_path: Path) -> None:
    wanted = inputs(machine, debs, "1.0-1")
    damaged = tmp_path / "damaged.deb"
    damaged.write_bytes(debs["1.0-1"].read_bytes()[:-1])
    wanted["packages"][NAME]["source"] = str(damaged)
    with pytest.raises(UnderstudyError, match="has the SHA-256"):
        SERVICE.create(wanted, quiet)
    assert not (machine.root / "root/configs").exists()


def test_a_package_that_lacks_another_is_refused_whole(machine: Machine, debs: dict[str, Path], tmp_path: Path) -> None:
    made = tmp_path / "root"
    (made / "DEBIAN").mkdir(parents=True)
    control = "Package: understudy-lacks\nVersion: 1\nArchitecture: all\nMaintainer: x <x@invalid>\n"
    (made / "DEBIAN/control").write_text(f"{control}Depends: no-such-package\nDescription: lacks\n")
    made.chmod(0o755)
    (made / "DEBIAN").chmod(0o755)
    deb = tmp_path / "it.deb"
    subprocess.run(("dpkg-deb", "--build", made, deb), check=True, capture_output=True)
    digest = hashlib.sha256(deb.read_bytes()).hexdigest()
    wanted = inputs(machine, debs, "1.0-1")
    wanted["packages"]["understudy-lacks"] = {"version": "1", "sha256": digest, "source": str(deb)}
    with pytest.raises(UnderstudyError, match=r"`install understudy-demo, understudy-lacks` failed: (.|\n)*is back"):
        SERVICE.create(wanted, quiet)
    assert tree(machine, *PLACES) == {}
    assert not installed(machine).startswith("installed")
