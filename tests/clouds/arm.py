"""An Azure Resource Manager on loopback that keeps what it is told, and lets things go as Azure does.

Source: Microsoft, "Azure REST API reference" (addresses, versions, pages), "Track asynchronous Azure operations"; the
refusals are as people quote them: terraform-provider-azurerm, issues 688 and 8105, ansible, pull request 54644.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.doubles.service import JsonHandler, serving

Answer = tuple[int, Any]
PAYS = "0a1b2c3d-0000-4000-8000-00000000000e"
TOKEN = "a-token"
COMPUTE, NETWORK = "/providers/Microsoft.Compute", "/providers/Microsoft.Network"
MACHINES, DISKS = f"{COMPUTE}/virtualMachines", f"{COMPUTE}/disks"
CARDS, ADDRESSES = f"{NETWORK}/networkInterfaces", f"{NETWORK}/publicIPAddresses"
NETWORKS, FENCES = f"{NETWORK}/virtualNetworks", f"{NETWORK}/networkSecurityGroups"
VERSIONS = {MACHINES: "2024-07-01", DISKS: "2023-04-02", NETWORK: "2023-11-01", "": "2021-04-01"}
"""By what is in an address, the first that fits."""
IN_USE = {
    MACHINES: "",
    DISKS: "OperationNotAllowed",
    CARDS: "NicInUse",
    ADDRESSES: "PublicIPAddressCannotBeDeleted",
    "/subnets/": "InUseSubnetCannotBeDeleted",
    NETWORKS: "InUseSubnetCannotBeDeleted",
    FENCES: "InUseNetworkSecurityGroupCannotBeDeleted",
}
"""What Azure says of something that another thing has."""


class Arm:
    """What it keeps.

    Attributes:
        kept: all things, by their identifiers as Azure writes them.
        acts: what was done to those that are there, in order: the method and the identifier.
        refusals: what is answered to the next acts instead; the last one first.
        looks: how often it is asked how an act goes before that is done.
        ends: how an act ends.
        after: in how many seconds to look again; empty where it does not say.
        lags: kinds that the list of all things in a group does not show yet.
    """

    def __init__(self) -> None:
        self.address = ""
        self.forget()
        arm = self

        class Handler(JsonHandler, BaseHTTPRequestHandler):  # the second tells Ruff whose the names are
            def do_GET(self) -> None:
                self.tell("GET")

            def do_DELETE(self) -> None:
                self.tell("DELETE")

            def do_PUT(self) -> None:
                self.tell("PUT")

            def do_POST(self) -> None:
                self.tell("POST")

            def tell(self, method: str) -> None:
                assert self.headers["Authorization"] == f"Bearer {TOKEN}"
                told = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                self.more = dict[str, str]()
                self.say(*arm.answer(method, self.path, json.loads(told or b"{}"), self.more))

            def end_headers(self) -> None:
                for name, value in self.more.items():
                    self.send_header(name, value)
                super().end_headers()

        self.handler = Handler

    def forget(self) -> None:
        """Be as new."""
        self.kept: dict[str, dict[str, Any]] = {}
        self.acts: list[tuple[str, str]] = []
        self.refusals: list[tuple[int, str]] = []
        self.looks, self.ends, self.after, self.lags, self.elsewhere = 1, "Succeeded", "0", "", ""
        self.going: dict[str, tuple[int, Any]] = {}

    def answer(self, method: str, path: str, told: Any, headers: dict[str, str]) -> Answer:
        split, query = urlsplit(path), parse_qs(urlsplit(path).query)
        if split.path.startswith("/going/"):
            return self.how_it_goes(split.path, headers)
        assert split.path.startswith(f"/subscriptions/{PAYS}")
        of = next(kind for kind in VERSIONS if kind in split.path)
        assert query["api-version"] == [VERSIONS[of]], path
        if method == "GET":
            return self.found(split.path, query)
        if self.refusals:
            status, code = self.refusals.pop()
            return status, {"error": {"code": code, "message": f"{code} of {split.path}"}}
        return self.acted(method, split.path, told, headers)

    def found(self, path: str, query: dict[str, list[str]]) -> Answer:
        if key := self.key_of(path):
            return 200, self.told_of(key)
        skip = int((query.get("$skiptoken") or ["0"])[0])
        listed = list(self.listed(path, query))
        page: dict[str, Any] = {"value": listed[skip : skip + 1]}
        if skip + 1 < len(listed):
            told = "".join(
                f"&{name}={value[0].replace(' ', '%20')}" for name, value in query.items() if "skip" not in name
            )
            page["nextLink"] = f"{self.address}{path}?{told}&$skiptoken={skip + 1}"
        return 200, page

    def listed(self, path: str, query: dict[str, list[str]]) -> Iterator[Any]:
        if path == f"/subscriptions/{PAYS}/resourcegroups":
            (wanted,) = query["$filter"]
            for key in self.kept:
                tag = self.kept[key].get("tags", {}).get("owner")
                if key.count("/") == 4 and wanted == f"tagName eq 'owner' and tagValue eq '{tag}'":
                    yield self.told_of(key)
        elif path.endswith("/resources"):
            within = path.removesuffix("resources").lower()
            shown = (key for key in self.kept if not (self.lags and self.lags in key))
            yield from (self.told_of(key) for key in shown if key.lower().startswith(within) and key.count("/") == 8)
        else:
            yield from (self.told_of(key) for key in self.kept if key.lower().rpartition("/")[0] == path.lower())

    def told_of(self, key: str) -> dict[str, Any]:
        """Return what Azure tells of something; a network has its subnets in it, a subnet the cards that are in it."""
        told = {"id": key, "name": key.rpartition("/")[2], **json.loads(json.dumps(self.kept[key]))}
        told.setdefault("properties", {})
        if NETWORKS in key and "/subnets/" not in key:
            told["properties"]["subnets"] = [self.told_of(each) for each in self.kept if each.startswith(f"{key}/")]
        elif "/subnets/" in key and (cards := [each for each in self.kept if CARDS in each and self.has(each, key)]):
            told["properties"]["ipConfigurations"] = [{"id": f"{card}/ipConfigurations/prod"} for card in cards]
        return told

    def key_of(self, path: str) -> str:
        return next((key for key in self.kept if key.lower() == path.lower()), "")

    def has(self, one: str, other: str) -> bool:
        """Whether one thing names another."""
        return f'"{other.lower()}"' in json.dumps(self.kept[one]).lower()

    def acted(self, method: str, path: str, told: Any, headers: dict[str, str]) -> Answer:
        key = self.key_of(path.removesuffix("/attachDetachDataDisks"))
        if not key:
            return 404, {"error": {"code": "ResourceNotFound", "message": f"{path} was not found"}}
        if method == "DELETE" and (holder := self.held(key)):
            code = IN_USE[next(kind for kind in ("/subnets/", *IN_USE) if kind in key)]
            status = 409 if DISKS in key else 400
            return status, {"error": {"code": code, "message": f"{key} is in use by {holder}"}}
        self.acts.append((method, key))
        going = f"/going/{len(self.acts)}"
        self.going[going] = (self.looks, (method, key, told))
        # The services for machines say where to look; those for networks, how it goes too.
        headers["Location"] = f"{self.elsewhere or self.address}{going}"
        if NETWORK in key:
            headers["Azure-AsyncOperation"] = f"{self.elsewhere or self.address}{going}?status"
        headers["Retry-After"] = self.after
        return 202, ""

    def held(self, key: str) -> str:
        """Return what has something; a group and a network go with all that is in them, unless others have that."""
        if key.count("/") == 4 or MACHINES in key:
            return ""
        mine = [each for each in self.kept if each == key or each.startswith(f"{key}/")]
        others = [each for each in self.kept if each not in mine]
        return next((other for one in mine for other in others if self.has(other, one)), "")

    def how_it_goes(self, going: str, headers: dict[str, str]) -> Answer:
        looks, (method, key, told) = self.going[going]
        headers["Retry-After"] = self.after
        self.going[going] = (looks - 1, (method, key, told))
        by_status = NETWORK in key
        if looks > 0:
            return (200, {"status": "InProgress"}) if by_status else (202, "")
        if self.ends != "Succeeded":
            error = {"code": "InternalExecutionError", "message": "Azure could not."}
            return (200, {"status": self.ends, "error": error}) if by_status else (409, {"error": error})
        self.done(method, key, told)
        return (200, {"status": "Succeeded"}) if by_status else (204, "")

    def done(self, method: str, key: str, told: Any) -> None:
        if method == "DELETE":
            for each in [each for each in self.kept if each == key or each.startswith(f"{key}/")]:
                del self.kept[each]
        elif method == "PUT":
            self.kept[key] = {name: value for name, value in told.items() if name not in {"id", "name"}}
        else:
            gone = {each["diskId"].lower() for each in told["dataDisksToDetach"]}
            profile = self.kept[key]["properties"]["storageProfile"]
            stay = (each for each in profile["dataDisks"] if each["managedDisk"]["id"].lower() not in gone)
            profile["dataDisks"] = list(stay)


@contextmanager
def serve_arm() -> Iterator[Arm]:
    """Give one for as long as it is needed."""
    found = Arm()
    with serving(found.handler) as found.address:
        yield found
