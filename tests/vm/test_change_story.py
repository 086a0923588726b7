"""One change from an edit to prod and back: refused, written down, rehearsed, let through, taken back a while later."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from bench.rehearsal import allow_own_key
from bench.site import Site

pytestmark = pytest.mark.vm

CONFIG = "/etc/haproxy/haproxy.cfg"
PAGE = "    http-request return status 200 content-type text/plain string shop if { path /shop }\n"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("site"))
    home = tmp_path_factory.mktemp("home")
    machines = {"lb": site.configuration(site.prod)["machines"]["lb"]}
    site.configure(
        site.prod,
        machines=machines,
        services={"haproxy": ["lb"], "cron": ["lb"]},
        stores={},
        pages={"shop": {"via": "lb", "url": "http://127.0.0.1/shop", "text": "shop"}},
        gate={"evidence": site.stage},
    )
    template = site.directory / "services/haproxy/haproxy.cfg.j2"
    text = template.read_text(encoding="utf-8")
    template.write_text(text.replace("    default_backend", f"{PAGE}    default_backend"), encoding="utf-8")
    allow_own_key(site, home)
    try:
        site.pulumi("up", site.prod)
        site.pulumi("up", site.stage)
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


def test_the_first_up_is_a_baseline(site: Site) -> None:
    assert "baseline" in site.run("understudy", "evidence", "show", "-s", site.prod)
    assert site.pulumi("preview", site.prod, "--expect-no-changes")


def test_an_edit_is_shown_and_refused_before_anything_is_touched(site: Site) -> None:
    path = site.directory / "services/haproxy/service.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("connections: 200", "connections: 321"), encoding="utf-8")
    lb = site.configuration(site.prod)["machines"]["lb"]
    site.configure(site.prod, machines={"lb": {**lb, "memory": "640MiB"}})
    shown = site.pulumi("preview", site.prod, "--diff")
    assert "maxconn 321" in shown
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
    ):
        assert told in text
    assert document.with_suffix(".html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_it_is_rehearsed(site: Site) -> None:
    printed = site.run("understudy", "change", "rehearse", "-s", site.stage)
    assert "rehearsal: GREEN" in printed, printed
    assert "change " in printed
    assert "of machine lb on lb" in printed
    assert most_connections(site, site.stage) == "321"
    assert 560 < memory_mib(site, site.stage) < 640
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


def test_a_page_that_no_longer_comes_is_red_and_named_and_the_stage_is_as_it_was(site: Site) -> None:
    path = site.directory / "services/haproxy/haproxy.cfg.j2"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(PAGE, ""), encoding="utf-8")
    printed = site.run("understudy", "change", "rehearse", "-s", site.stage, code=1)
    path.write_text(text, encoding="utf-8")
    assert re.search(r"rehearsal: RED: .*http://127.0.0.1/shop, asked from lb.*status 503", printed), printed
    assert "http-request return" in site.ssh(site.stage, "lb", "cat", CONFIG), "what was applied is taken back"


def test_a_second_try_is_rehearsed_from_where_prod_stands(site: Site) -> None:
    """The stage has another one already; now only a check is edited, and a service goes."""
    path = site.directory / "services/haproxy/haproxy.cfg.j2"
    text = path.read_text(encoding="utf-8")
    path.write_text(f"{text}# first try\n", encoding="utf-8")
    site.pulumi("up", site.stage)
    path.write_text(text, encoding="utf-8")
    described = site.directory / "services/haproxy/service.yaml"
    check = "checks:\n  - name: its file\n    command: [test, -s, /etc/haproxy/haproxy.cfg]\n"
    described.write_text(described.read_text(encoding="utf-8").replace("checks:\n", check), encoding="utf-8")
    site.configure(site.prod, services={"haproxy": ["lb"]})
    refused = site.pulumi("up", site.prod, code=1)
    wanted = re.findall(r"its digest: ([0-9a-f]{64})", refused)
    assert len(set(wanted)) == 2, refused
    printed = site.run("understudy", "change", "rehearse", "-s", site.stage)
    assert "lb: haproxy: prod has no" in printed
    assert "rehearsal: GREEN" in printed
    for digest in wanted:
        assert f"change {digest[:12]} of" in printed
    assert "first try" not in site.ssh(site.stage, "lb", "cat", CONFIG)
    assert site.pulumi("preview", site.stage, "--expect-no-changes")
    word = re.search(r"understudy change word ([0-9a-f]{12}) -s", printed)
    assert word, "nothing has checked that the service that goes did well"
    site.run("understudy", "change", "word", word[1], "-s", site.stage, "--why", "The jobs run elsewhere.")
    shown = site.pulumi("preview", site.prod)
    assert "REFUSED" not in shown


def test_it_is_taken_back_later_and_the_next_preview_says_so(site: Site) -> None:
    listed = site.run("understudy", "change", "list", "-s", site.prod)
    identifier = re.findall(r"UTC  ([0-9a-f]{12})  lb +haproxy +kept", listed)[0]
    assert CONFIG in site.run("understudy", "change", "show", identifier, "-s", site.prod)
    site.run("understudy", "change", "back-out", identifier, "-s", site.prod)
    assert most_connections(site, site.prod) == "200"
    assert "back-out" in site.run("understudy", "evidence", "show", "-s", site.prod)
    shown = site.pulumi("preview", site.prod, "--diff")
    assert "maxconn 200" in shown, "a plain preview knows"
    assert "maxconn 321" in shown
    assert "WENT ROUND" not in shown
