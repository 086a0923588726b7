"""./run makes what is missing: once, whole, and one at a time."""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import tarfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.run.conftest import FAKE_GO

if TYPE_CHECKING:
    from tests.run.conftest import Clone


def builds(clone: Clone) -> list[str]:
    return [call for call in clone.called() if call.startswith("build")]


def unfinished(clone: Clone) -> list[Path]:
    return list(clone.cache.rglob(".unfinished-*"))


def wait_for(what: object, seconds: float = 20) -> None:
    assert callable(what)
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.02)


def test_builds_what_is_missing_and_says_how_long_it_takes(clone: Clone) -> None:
    done = clone.run("sh", "-c", "pulumi && pulumi-resource-libvirt")
    assert (done.returncode, done.stdout) == (0, "built\nbuilt\n"), done.stderr
    assert "building Pulumi 3.259.0 and its Python language host; 5 to 8 minutes" in done.stderr
    assert "building the libvirt plugin; 1 to 5 minutes" in done.stderr
    assert len(builds(clone)) == 3
    assert (clone.root / ".toolchain/bin/pulumi-language-python-exec").exists()
    assert (clone.root / ".toolchain").readlink().parent == clone.cache / "toolchain"


def test_second_run_builds_nothing_and_adds_less_than_a_second(clone: Clone) -> None:
    clone.run("true")
    before = len(clone.called())
    began = os.times()
    done = clone.run("true")
    ended = os.times()
    assert (done.returncode, done.stderr, len(clone.called())) == (0, "", before)
    used = ended.children_user + ended.children_system - began.children_user - began.children_system
    assert used < 1, "seconds of a processor: how long it takes depends on what else runs"


def test_command_gets_its_arguments_and_its_exit_code_is_ours(clone: Clone) -> None:
    done = clone.run("sh", "-c", 'printf "%s|" "$@"; exit 7', "sh", "two words", "*", "")
    assert (done.returncode, done.stdout) == (7, "two words|*||")


def test_what_python_compiles_is_kept_also_where_a_container_says_not_to(clone: Clone) -> None:
    done = clone.run("sh", "-c", 'echo "${PYTHONDONTWRITEBYTECODE-kept}"', PYTHONDONTWRITEBYTECODE="1")
    assert done.stdout == "kept\n"


def test_it_may_be_called_from_anywhere(clone: Clone, tmp_path: Path) -> None:
    clone.run("true")
    before = len(clone.called())
    argv = [str(clone.root / "run"), "pwd"]
    done = subprocess.run(argv, env=clone.environment({}), cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{tmp_path}\n", "")
    assert len(clone.called()) == before


def test_a_build_that_was_cut_off_is_redone_and_what_was_finished_is_kept(clone: Clone) -> None:
    cut = clone.start("true", FAKE_GO_SECONDS="60")
    wait_for(lambda: builds(clone))
    os.killpg(cut.pid, signal.SIGKILL)
    cut.communicate()
    assert unfinished(clone)
    assert not (clone.root / ".toolchain").exists()
    done = clone.run("pulumi-resource-libvirt")
    assert (done.returncode, done.stdout) == (0, "built\n"), done.stderr
    assert unfinished(clone) == []


def test_a_new_libvirt_plugin_does_not_build_pulumi_again(clone: Clone) -> None:
    clone.run("true")
    clone.log.unlink()
    with (clone.root / "plugins/libvirt/main.go").open("a") as source:
        source.write("// changed\n")
    done = clone.run("true")
    assert (done.returncode, len(builds(clone))) == (0, 1), done.stderr
    assert "Pulumi 3.259.0" not in done.stderr


def test_two_at_once_wait_for_one_another_and_build_once(clone: Clone) -> None:
    first = clone.start("true", FAKE_GO_SECONDS="0.5")
    wait_for(lambda: builds(clone))
    second = clone.start("pulumi-resource-libvirt", FAKE_GO_SECONDS="0.5")
    out, err = second.communicate(timeout=60)
    assert (first.wait(timeout=60), second.returncode, out) == (0, 0, "built\n")
    assert "another ./run is making the toolchain; waiting for it" in err
    assert len(builds(clone)) == 3
    first.communicate()


def test_a_build_that_fails_leaves_nothing_and_says_so(clone: Clone) -> None:
    clone.program("go", '#!/bin/sh\n[ "$1" != env ] || echo go1.26.8\n[ "$1" != build ] || exit 1\n')
    done = clone.run("true")
    assert done.returncode == 1
    assert "stopped while making" in done.stderr
    assert not list((clone.cache / "parts").glob("pulumi-*"))


def test_users_own_pulumi_of_the_right_version_is_taken(clone: Clone) -> None:
    clone.own_pulumi()
    done = clone.run("pulumi", "version")
    assert (done.returncode, done.stdout) == (0, "v3.259.0\n"), done.stderr
    assert (clone.root / ".toolchain/bin/pulumi").resolve() == clone.bin / "pulumi"
    assert len(builds(clone)) == 1


@pytest.mark.parametrize("home", [".", "anna"])
def test_users_own_pulumi_is_found_at_home_where_sudos_path_does_not_lead(clone: Clone, home: str) -> None:
    anna = clone.root.parent / "anna"
    clone.program("getent", f'#!/bin/sh\n[ "$*" != "passwd anna" ] || echo anna:x:1:1::{anna}:/bin/sh\n')
    installed = clone.root.parent / home / ".pulumi/bin"
    installed.mkdir(parents=True)
    clone.own_pulumi()
    for program in clone.bin.glob("pulumi*"):
        program.rename(installed / program.name)
    done = clone.run("pulumi", "version", SUDO_USER="anna")
    assert (done.returncode, done.stdout) == (0, "v3.259.0\n"), done.stderr
    assert (clone.root / ".toolchain/bin/pulumi").resolve() == installed / "pulumi"


def test_another_version_on_path_is_no_reason_to_pass_by_the_right_one_at_home(clone: Clone) -> None:
    clone.own_pulumi()
    shutil.copytree(clone.bin, clone.root.parent / ".pulumi/bin")
    clone.own_pulumi("#!/bin/sh\necho v3.258.0\n")
    assert clone.run("pulumi", "version").stdout == "v3.259.0\n"


def test_users_own_pulumi_that_changed_is_looked_at_again(clone: Clone) -> None:
    clone.own_pulumi()
    clone.run("true")
    clone.own_pulumi("#!/bin/sh\necho v3.260.0\n")
    done = clone.run("true")
    assert "building Pulumi 3.259.0" in done.stderr
    assert (clone.root / ".toolchain/bin/pulumi").resolve() != clone.bin / "pulumi"


def test_another_version_of_the_users_own_is_left_alone(clone: Clone) -> None:
    clone.own_pulumi("#!/bin/sh\necho v3.258.0\n")
    clone.run("true")
    assert (clone.root / ".toolchain/bin/pulumi").resolve() != clone.bin / "pulumi"


def test_release_with_another_digest_is_not_used(clone: Clone) -> None:
    clone.program(
        "curl",
        r"""#!/bin/bash
while [ "$1" != -o ]; do shift; done
case $2 in
*/sums) for m in x64 arm64; do echo "$(printf 0%.0s {1..64})  pulumi-v3.259.0-linux-$m.tar.gz"; done >"$2" ;;
*) echo forged >"$2" ;;
esac
""",
    )
    done = clone.run("pulumi")
    assert "does not have the digest that its makers published" in done.stderr
    assert (done.returncode, done.stdout) == (0, "built\n")
    assert list((clone.cache / "parts").glob("*/*.tar.gz")) == []


# Serves the files of a folder, by the last part of their address, as `curl -o` and `curl --head` give them.
SERVING = r"""#!/bin/bash
for word; do
    case $word in --head) head=yes ;; -*) ;; https://*) name=${word##*/} ;; esac
    [ "$before" != -o ] || out=$word
    before=$word
done
[ -e "$SERVED/$name" ] || exit 22
[ -n "$head" ] || cp "$SERVED/$name" "$out"
"""
PLAIN = "#!/bin/sh\necho official\n"


def served(clone: Clone, *archives: tuple[str, Mapping[str, str]]) -> Path:
    """Makes a folder of gzipped archives, each of programs under one folder, and the double that serves them."""
    folder = clone.root.parent / "served"
    folder.mkdir()
    for name, programs in archives:
        with tarfile.open(folder / name, "w:gz") as archive:
            for path, text in programs.items():
                entry = tarfile.TarInfo(f"one-folder/{path}")
                entry.size, entry.mode = len(text), 0o755
                archive.addfile(entry, io.BytesIO(text.encode()))
    clone.program("curl", SERVING)
    return folder


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_official_release_is_taken_where_it_has_its_makers_digest(clone: Clone) -> None:
    machine = {"x86_64": "x64", "aarch64": "arm64"}[platform.machine()]
    release = f"pulumi-v3.259.0-linux-{machine}.tar.gz"
    programs = dict.fromkeys(("pulumi", "pulumi-language-python", "pulumi-language-python-exec"), PLAIN)
    folder = served(clone, (release, programs))
    sums = f"{'0' * 64}  another.tar.gz\n{digest(folder / release)}  {release}\n"
    (folder / "pulumi-3.259.0-checksums.txt").write_text(sums)
    done = clone.run("pulumi", SERVED=str(folder))
    assert (done.returncode, done.stdout) == (0, "official\n"), done.stderr
    assert "fetching the official release of Pulumi 3.259.0" in done.stderr
    assert "building Pulumi" not in done.stderr
    assert len(builds(clone)) == 1  # the libvirt plugin, which nobody serves
    (part,) = (clone.cache / "parts").glob("pulumi-*")
    assert sorted(path.name for path in part.iterdir()) == sorted(programs)


def go_archive() -> str:
    return f"go1.26.8.linux-{ {'x86_64': 'amd64', 'aarch64': 'arm64'}[platform.machine()] }.tar.gz"


def without_go(clone: Clone) -> None:
    """No Go is new enough, and Debian's is as old as Debian 12's; what would be installed is written down."""
    clone.program("go", "#!/bin/sh\necho go1.19.8\n")
    script = clone.root / "toolchain/go.sh"
    script.write_text(re.sub(r"(?m)^GO_INSTALLED=.*", "GO_INSTALLED=/nowhere", script.read_text()))
    debian = "golang-go:\n  Installed: (none)\n  Candidate: 2:$FAKE_DEBIAN_GO~1\n"
    clone.program("apt-cache", f'#!/bin/sh\nprintf "{debian}"\n')
    clone.program("apt-get", '#!/bin/sh\necho "apt-get $*" >>"$FAKE_LOG"\n')


def test_where_there_is_no_go_the_official_one_is_fetched(clone: Clone) -> None:
    without_go(clone)
    folder = served(clone, (go_archive(), {"bin/go": FAKE_GO}))
    script = clone.root / "toolchain/go.sh"
    script.write_text(
        re.sub(r"(?m)(\[(?:amd|arm)64\]=).*", rf"\g<1>{digest(folder / go_archive())}", script.read_text())
    )
    done = clone.run("pulumi-resource-libvirt", SERVED=str(folder), FAKE_DEBIAN_GO="1.19")
    assert (done.returncode, done.stdout) == (0, "built\n"), done.stderr
    assert "fetching Go 1.26.8" in done.stderr
    assert (clone.cache / "parts/go-1.26.8/bin/go").exists()
    assert unfinished(clone) == []


@pytest.mark.parametrize("forged", [False, True])
def test_without_any_go_nothing_is_begun_and_the_error_says_what_to_type(clone: Clone, forged: bool) -> None:
    without_go(clone)
    (clone.root / "toolchain/debian-packages.txt").write_text("one no-such-program\n")
    folder = served(clone, (go_archive(), {"bin/go": FAKE_GO})) if forged else clone.root
    done = clone.run("true", SERVED=str(folder), FAKE_DEBIAN_GO="1.19")
    assert done.returncode == 1
    assert "building the libvirt plugin needs Go 1.25.11 or newer, and there is none here" in done.stderr
    assert f"https://go.dev/dl/{go_archive()}" in done.stderr
    assert f"tar -C /usr/local -xzf {go_archive()}" in done.stderr
    assert ("does not have the digest that is written down" in done.stderr) is forged
    assert clone.called() == []
    assert [path.name for path in clone.cache.rglob("*") if path.is_file()] == ["lock"]


def test_debians_go_is_installed_where_it_is_new_enough(clone: Clone) -> None:
    without_go(clone)
    clone.program("apt-get", f'#!/bin/bash\necho "apt-get $*" >>"$FAKE_LOG"\ncat >{clone.bin}/go <<"E"\n{FAKE_GO}E\n')
    done = clone.run("pulumi-resource-libvirt", FAKE_DEBIAN_GO="1.26")
    assert (done.returncode, done.stdout) == (0, "built\n"), done.stderr
    (installed,) = (call for call in clone.called() if call.startswith("apt-get install "))
    assert installed.endswith(" golang-go")


def test_what_is_installed_while_something_is_made_lets_no_other_run_make_it_too(clone: Clone) -> None:
    clone.run("true")
    for made in (*(clone.cache / "parts").glob("pulumi-*"), *(clone.cache / "toolchain").iterdir()):
        made.rename(clone.root.parent / made.name)
    without_go(clone)
    clone.program("curl", '#!/bin/sh\necho curl >>"$FAKE_LOG"\nsleep 1\nexit 6\n')
    clone.program("apt-get", f'#!/bin/bash\necho "apt-get $*" >>"$FAKE_LOG"\ncat >{clone.bin}/go <<"E"\n{FAKE_GO}E\n')
    clone.log.unlink()
    runs = [clone.start("true", FAKE_DEBIAN_GO="1.26")]
    wait_for(clone.called)
    runs.append(clone.start("true", FAKE_DEBIAN_GO="1.26"))
    said = [run.communicate(timeout=60)[1] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], said
    assert "another ./run is making the toolchain" in said[1]
    assert len([call for call in clone.called() if call.startswith("apt-get install ")]) == 1
    assert len(builds(clone)) == 2


def test_a_go_that_stands_where_its_makers_put_it_is_found_without_path(clone: Clone) -> None:
    without_go(clone)
    (clone.root.parent / "go/bin").mkdir(parents=True)
    (clone.root.parent / "go/bin/go").symlink_to(clone.program("new-go", FAKE_GO))
    script = clone.root / "toolchain/go.sh"
    script.write_text(script.read_text().replace("/nowhere", str(clone.root.parent / "go")))
    assert f"there     Go                     {clone.root.parent / 'go/bin'}" in clone.run().stdout
    assert clone.run("pulumi-resource-libvirt").stdout == "built\n"


def test_missing_packages_without_root_are_one_line_to_type(clone: Clone) -> None:
    (clone.root / "toolchain/debian-packages.txt").write_text("one no-such-program\nthere sh\ntwo /no/such/file*\n")
    done = clone.bash("apt-get() { :; }; can_be_root() { false; }; prepare true")
    assert done.returncode == 1
    assert "apt-get update && apt-get install --no-install-recommends one two\n" in done.stderr


def test_a_venv_is_made_from_the_lock_file(clone: Clone) -> None:
    (clone.root / "requirements.lock").write_text("")
    done = clone.run("python", "-c", "import sys; print(sys.prefix)", PATH=f"{clone.bin}:{os.environ['PATH']}")
    assert done.returncode == 0, done.stderr
    prefix = Path(done.stdout.strip())
    assert prefix.parent == clone.cache / "venv"
    assert str(prefix) in (prefix / "bin/pip").read_text()
    asked = ("-m", "pip", "list", "-v", "--format", "json")
    (prefix / "lib").rename(prefix / "elsewhere")  # what Pulumi asks before each program was answered by pip, once
    (pip,) = (each for each in json.loads(clone.run("pulumi-python", *asked).stdout) if each["name"] == "pip")
    assert pip["location"].startswith(f"{prefix}/lib/python3.")
    (prefix / "elsewhere").rename(prefix / "lib")
    assert clone.run("pulumi-python", "-c", "import sys; print(sys.prefix)").stdout == done.stdout


def test_status_makes_nothing(clone: Clone) -> None:
    done = clone.run()
    assert done.returncode == 0, done.stderr
    assert "missing   Pulumi, libvirt plugin" in done.stdout
    assert f"there     Go                     {clone.bin}" in done.stdout
    assert "./run pulumi up -s stage" in done.stdout
    assert not (clone.root / ".toolchain").exists()
    assert not clone.state.exists()
    clone.run("true")
    assert "there     Pulumi, libvirt plugin" in clone.run().stdout


def test_status_says_whether_the_machine_image_is_there(clone: Clone) -> None:
    (clone.root / "images").mkdir()
    program = "import sys\nassert sys.argv[1:] == ['--look']\n"
    (clone.root / "images/build.py").write_text(f"{program}print('/images/0123')")
    assert "  there     machine image          /images/0123\n" in clone.run().stdout
    (clone.root / "images/build.py").write_text(f"{program}print('missing')\nsys.exit(1)")
    takes = "one to two minutes to build, with the first machine\n"
    assert f"  missing   machine image          {takes}" in clone.run().stdout
    (clone.root / "requirements.lock").write_text("")
    assert f"machine image          looked for once the Python packages are there; {takes}" in clone.run().stdout


def test_status_names_pulumis_service(clone: Clone) -> None:
    assert "Pulumi state           Pulumi's service\n" in clone.run(PULUMI_ACCESS_TOKEN="t").stdout


def test_status_says_that_go_is_missing_and_that_it_may_be_missing_once_all_is_built(clone: Clone) -> None:
    clone.run("true")
    without_go(clone)
    assert "Go                     none, and the libvirt plugin is built already" in clone.run().stdout
    for part in (clone.cache / "parts").glob("libvirt-*"):
        part.rename(part.with_name("gone"))
    assert "missing   Go                     1.25.11 or newer, to build the libvirt plugin" in clone.run().stdout
