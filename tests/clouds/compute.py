"""A Compute Engine on loopback that keeps what it is told: each resource at its address, each act done at once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import urlsplit

from tests.doubles.service import JsonHandler, serving

Answer = tuple[int, dict[str, Any]]


class Compute:
    """What it keeps.

    Attributes:
        kept: what each resource was made with, by its address in the project, such as ``global/networks/dr-network``.
        acts: what was done to those that are there, in order.
        status: of an act that was just begun; whoever waits for it finds it done.
    """

    def __init__(self) -> None:
        self.kept: dict[str, dict[str, Any]] = {}
        self.acts: list[tuple[str, dict[str, Any]]] = []
        self.status = "DONE"
        compute = self

        class Handler(JsonHandler, BaseHTTPRequestHandler):  # the second tells Ruff whose the names are
            def do_GET(self) -> None:
                self.say(*compute.found(*self.asked()))

            def do_DELETE(self) -> None:
                self.say(*compute.removed(*self.asked()))

            def do_POST(self) -> None:
                told = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
                self.say(*compute.told(*self.asked(), told))

            def asked(self) -> tuple[str, str]:
                """Return the project's own address, and that of what is asked for within it."""
                project, _, within = urlsplit(self.path).path.partition("/projects/")[2].partition("/")
                return f"http://{self.headers['Host']}/compute/v1/projects/{project}", within

        self.handler, self.address = Handler, ""

    def found(self, project: str, within: str) -> Answer:
        if "/operations/" in within:
            return self.waited(project, within.partition("/operations/")[0] + "/x")
        if within in self.kept:
            return 200, self.told_of(project, within)
        if within.startswith("aggregated/"):
            plural, places = within.partition("/")[2], dict[str, Any]()
            for path in self.kept:
                place, _, kind = path.rpartition("/")[0].rpartition("/")
                if kind == plural:
                    places.setdefault(place, {plural: []})[plural].append(self.told_of(project, path))
            return 200, {"items": {**places, "zones/us-east1-b": {"warning": {"code": "NO_RESULTS_ON_PAGE"}}}}
        listed = [self.told_of(project, path) for path in self.kept if path.rpartition("/")[0] == within]
        return (200, {"items": listed}) if listed or within.startswith("global/") else missing(within)

    def told_of(self, project: str, within: str) -> dict[str, Any]:
        return {**self.kept[within], "selfLink": f"{project}/{within}"}

    def removed(self, project: str, within: str) -> Answer:
        if (gone := self.kept.pop(within, None)) is None:
            return missing(within)
        for disk in gone.get("disks") or ():
            if disk.get("autoDelete"):
                self.kept.pop(disk.get("source", "").partition("/projects/")[2].partition("/")[2], None)
        self.acts.append((within, {"delete": True}))
        return done(project, within, "delete", self.status)

    def waited(self, project: str, thing: str) -> Answer:
        return done(project, thing, "insert")

    def told(self, project: str, within: str, told: dict[str, Any]) -> Answer:
        thing, _, verb = within.rpartition("/")
        if "/operations/" in within:  # what is waited for
            return self.waited(project, thing.partition("/operations/")[0] + "/x")
        if "name" not in told:
            self.acts.append((within, told))
            return done(project, thing, verb)
        self.kept[f"{within}/{told['name']}"] = told
        return done(project, f"{within}/{told['name']}", "insert")


def done(project: str, within: str, kind: str, status: str = "DONE") -> Answer:
    where = "global" if within.startswith("global") else "/".join(within.split("/")[:2])
    link = f"{project}/{where}/operations/operation-1"
    told = {"id": "1", "name": "operation-1", "operationType": kind, "status": status, "selfLink": link}
    place = {where.partition("/")[0].removesuffix("s"): f"{project}/{where}"} if where != "global" else {}
    return 200, {"kind": "compute#operation", **told, **place, "targetLink": f"{project}/{within}"}


def missing(within: str) -> Answer:
    errors = [{"reason": "notFound", "message": within}]
    return 404, {"error": {"code": 404, "message": f"{within} was not found", "errors": errors}}


@contextmanager
def serve_compute() -> Iterator[Compute]:
    """Give one for as long as it is needed."""
    found = Compute()
    with serving(found.handler) as address:
        found.address = f"{address}/compute/v1/"
        yield found
