"""One change from an edit to prod and back: refused, written down, rehearsed, let through, taken back a while later."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from bench.rehearsal import allow_own_key
from bench.site import Site

pytestmark = pytest.mark.vm

CONFIG = "/etc/haproxy/haproxy.cfg"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("site"))
    home = tmp_path_factory.mktemp("home")
    machines = {"lb": {**site.configuration(site.prod)["machines"]["lb"], "data_disk": "256MiB"}}
    site.configure(
        site.prod, machines=machines, services={"haproxy": ["lb"]}, stores={}, pages={}, gate={"evidence": site.stage}
    )
    allow_own_key(site, home)
    try:
        site.pulumi("up", site.prod)
        site.pulumi("up", site.stage)
        for stack in (site.prod, site.stage):
            site.ssh(stack, "lb", "cp", "-a", "/etc", "/srv/kept")
        yield site
    finally:
        site.end(site.stage, site.prod)


def most_connections(site: Site, stack: str) -> str:
    """Return what is really on the machine."""
    found = re.search(r"maxconn (\d+)", site.ssh(stack, "lb", "cat", CONFIG))
    return found[1] if found else ""


def memory_mib(site: Site, stack: str) -> int:
    """Return what the machine has in use of its memory: a little less than it was given."""
    return int(site.ssh(stack, "lb", "sed", "-n", r"s/^MemTotal: *\([0-9]*\) kB$/\1/p", "/proc/meminfo")) // 1024


def data_mib(site: Site, stack: str) -> int:
    """Return how big the file system on the machine's data disk is; what was written there first is there still."""
    site.ssh(stack, "lb", "diff", "-r", "--no-dereference", "/srv/kept/default", "/etc/default")
    return int(site.ssh(stack, "lb", "df", "--block-size=1M", "--output=size", "/srv").split()[-1])


def test_the_first_up_is_a_baseline(site: Site) -> None:
    assert "baseline" in site.run("understudy", "evidence", "show", "-s", site.prod)
    assert site.pulumi("preview", site.prod, "--expect-no-changes")


def test_an_edit_is_shown_and_refused_before_anything_is_touched(site: Site) -> None:
    path = site.directory / "services/haproxy/service.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("connections: 200", "connections: 321"), encoding="utf-8")
    lb = site.configuration(site.prod)["machines"]["lb"]
    site.configure(site.prod, machines={"lb": {**lb, "memory": "640MiB", "data_disk": "384MiB"}})
    shown = site.pulumi("preview", site.prod, "--diff")
    assert "maxconn 321" in shown
    assert "its data disk becomes bigger where it is: 256 MiB → 384 MiB; its data stays" in shown
    assert f"understudy change rehearse -s {site.stage}" in shown
    refused = site.pulumi("up", site.prod, code=1)
    assert "this may not pass" in refused
    assert "machine lb changes" in refused
    assert most_connections(site, site.prod) == "200"


def test_it_is_written_down(site: Site) -> None:
    printed = site.run("understudy", "change", "document", "-s", site.prod, "--why", "The shop has more visitors.")
    document = next(site.directory.glob("changes/*/document.md"))
    assert str(document) in printed
    text = document.read_text(encoding="utf-8")
    for told in (
        "The shop has more visitors.",
        "+    maxconn 321",
        "-    maxconn 200",
        "sh lb:haproxy do 1",
        "What the gate says",
        "virsh --connect qemu:///system define /dev/stdin",
        "virsh --connect qemu:///system blockresize",
    ):
        assert told in text
    assert document.with_suffix(".html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_it_is_rehearsed(site: Site) -> None:
    printed = site.run("understudy", "change", "rehearse", "-s", site.stage)
    assert "rehearsal: GREEN" in printed, printed
    assert "change " in printed
    assert "of machine lb on lb" in printed
    assert most_connections(site, site.stage) == "321"
    assert "NOT REHEARSED: lb: its data disk: it is not made smaller again, and need not be" in printed
    assert 560 < memory_mib(site, site.stage) < 640
    assert 320 < data_mib(site, site.stage) < 384
    assert "rehearsal" in site.run("understudy", "evidence", "show", "-s", site.stage)
    site.run("understudy", "evidence", "verify", "-s", site.stage)


def test_what_goes_beyond_the_document_is_refused(site: Site) -> None:
    described = site.configuration(site.prod)["machines"]
    more = {"lb": {**described["lb"], "memory": "768MiB"}, "lb2": {**described["lb"], "address": "10.20.0.11"}}
    site.configure(site.prod, machines=more)
    refused = site.pulumi("up", site.prod, code=1)
    assert "this update would do more than the document says" in refused
    assert "Domain lb: " in refused
    assert "Domain lb2: create" in refused
    assert f"./run understudy change document -s {site.prod}" in refused
    site.configure(site.prod, machines=described)


def test_then_prod_gets_it_and_nothing_else(site: Site) -> None:
    assert "held by changes/" in site.pulumi("up", site.prod)
    assert 560 < memory_mib(site, site.prod) < 640
    assert most_connections(site, site.prod) == "321"
    assert site.pulumi("preview", site.prod, "--expect-no-changes")
    site.run("understudy", "evidence", "verify", "-s", site.prod)


def test_it_is_taken_back_later_and_the_next_preview_says_so(site: Site) -> None:
    listed = site.run("understudy", "change", "list", "-s", site.prod)
    identifier = re.findall(r"UTC  ([0-9a-f]{12})  lb +haproxy +kept", listed)[0]
    assert CONFIG in site.run("understudy", "change", "show", identifier, "-s", site.prod)
    site.run("understudy", "change", "back-out", identifier, "-s", site.prod)
    assert most_connections(site, site.prod) == "200"
    shown = site.pulumi("preview", site.prod, "--refresh", "--diff")
    assert "maxconn 200" in shown
    assert "maxconn 321" in shown
