"""What an Azure subscription lacks is said before anything is made, each with the line to type, by an Azure made up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from model.capacity import CloudImage
from model.errors import UnderstudyError
from provisioners.clouds.azure import examine
from provisioners.clouds.azure_account import Account, log_in
from tests.doubles.service import JsonHandler, serving

PAYS = "0a1b2c3d-0000-4000-8000-00000000000e"
REGION = "westeurope"
COMPUTE = f"/subscriptions/{PAYS}/providers/Microsoft.Compute"
MINE = "understudy-dr-a2ad7316"
PERSON, PROGRAM = "token-of-a-person", "token-of-a-program"


def size(name: str, family: str, vcpus: int, *hindered: str) -> dict[str, Any]:
    restrictions = [{"type": kind, "reasonCode": "NotAvailableForSubscription"} for kind in hindered]
    has = [{"name": "vCPUs", "value": str(vcpus)}, {"name": "MemoryGB", "value": "4"}]
    return {
        "resourceType": "virtualMachines",
        "name": name,
        "family": family,
        "capabilities": has,
        "restrictions": restrictions,
    }


def machine(owner: str, kind: str, location: str = REGION) -> dict[str, Any]:
    hardware = {"hardwareProfile": {"vmSize": kind}}
    return {"name": "x", "location": location, "tags": {"owner": owner}, "properties": hardware}


def usual() -> dict[str, Any]:
    """Return what a subscription that lacks nothing answers, by path."""
    versions = f"{COMPUTE}/locations/{REGION}/publishers/Debian/artifacttypes/vmimage/offers/debian-12/skus/12-gen2"
    return {
        f"/subscriptions/{PAYS}": {"displayName": "Shop", "state": "Enabled"},
        f"/subscriptions/{PAYS}/locations": {"value": [{"name": REGION}, {"name": "northeurope"}]},
        COMPUTE: {"registrationState": "Registered"},
        f"/subscriptions/{PAYS}/providers/Microsoft.Network": {"registrationState": "Registered"},
        f"{versions}/versions": [{"name": "0.20261101.2265"}],
        f"{COMPUTE}/skus": {
            "value": [
                size("Standard_B2s", "standardBSFamily", 2, "Zone"),
                size("Standard_D4s_v5", "standardDSv5Family", 4),
                size("Standard_E2s_v5", "standardESv5Family", 2, "Location"),
                {"resourceType": "disks", "name": "StandardSSD_LRS"},
            ]
        },
        f"{COMPUTE}/locations/{REGION}/usages": {
            "value": [
                {"name": {"value": "cores"}, "currentValue": 6, "limit": 20},
                {"name": {"value": "StandardBSFamily"}, "currentValue": 4, "limit": 10},
            ]
        },
        f"{COMPUTE}/virtualMachines": {
            "value": [
                machine(MINE, "Standard_B2s"),
                machine("somebody", "Standard_B2s"),
                machine(MINE, "Standard_B2s", "northeurope"),
            ]
        },
        f"/subscriptions/{PAYS}/resourceGroups/images/providers/Microsoft.Compute/images": {
            "value": [{"name": "shop-7"}, {"name": "other"}]
        },
        "/tenant-1/oauth2/v2.0/token": {"access_token": PROGRAM},
    }


class Azure:
    """An Azure on loopback, with what it answers and what it was asked."""

    def __init__(self) -> None:
        self.answers, self.asked, self.refuses = usual(), list[str](), dict[str, tuple[int, Any]]()
        azure = self

        class Handler(JsonHandler, BaseHTTPRequestHandler):  # the second tells Ruff whose the names are
            def do_GET(self) -> None:
                azure.asked.append(f"{self.headers['Authorization']} {self.path}")
                if azure.asked[-1].split()[1] not in {PERSON, PROGRAM}:
                    self.say(401, {"error": {"code": "InvalidAuthenticationToken", "message": "The token is expired."}})
                    return
                assert "api-version" in parse_qs(urlsplit(self.path).query)
                self.answer()

            def do_POST(self) -> None:
                told = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
                if told["client_secret"] != ["right"]:
                    wrong = {
                        "error": "invalid_client",
                        "error_description": "AADSTS7000215: Invalid secret.\r\nTrace: 1",
                    }
                    self.say(401, wrong)
                    return
                assert (told["grant_type"], told["client_id"]) == (["client_credentials"], ["program-1"])
                self.answer()

            def answer(self) -> None:
                path = urlsplit(self.path).path
                if path in azure.refuses:
                    self.say(*azure.refuses[path])
                elif path in azure.answers:
                    self.say(200, azure.answers[path])
                else:
                    self.say(404, {"error": {"code": "SubscriptionNotFound", "message": "It could not be found."}})

        self.handler, self.address = Handler, ""


@pytest.fixture
def azure() -> Iterator[Azure]:
    found = Azure()
    with serving(found.handler) as found.address:
        yield found


@pytest.fixture
def az(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return what makes an `az` of a script's text; without that there is none."""
    monkeypatch.setenv("PATH", str(tmp_path))

    def make(script: str) -> None:
        (tmp_path / "az").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "az").chmod(0o755)

    return make


def examined(
    azure: Azure,
    wanted: dict[str, int] | None = None,
    region: str = REGION,
    image: CloudImage | None = None,
    pays: str = PAYS,
) -> list[str]:
    said: list[str] = []
    account = Account(subscription=pays, token=PERSON, address=azure.address)
    examine(account, region, image, wanted or {"Standard_B2s": 4}, MINE, said.append)
    return said


def test_a_subscription_that_has_it_all(azure: Azure) -> None:
    assert examined(azure, {"Standard_B2s": 4, "Standard_D4s_v5": 8}) == [
        "Azure westeurope: in Shop",
        "Debian's newest image there: 0.20261101.2265",
    ]
    assert any("%24orderby=name+desc" in line and "%24top=1" in line for line in azure.asked)
    assert any("%24filter=location+eq+%27westeurope%27" in line for line in azure.asked)


def test_who_is_logged_in_with_az(azure: Azure, az: Callable[[str], None]) -> None:
    wanted = f"account get-access-token --subscription {PAYS} --output json --resource https://management.azure.com"
    az(f"""[ "$*" = "{wanted}" ] && echo '{{"accessToken": "{PERSON}"}}'""")
    account = log_in(PAYS, {}, azure.address)
    assert account.get("", "2022-12-01")["displayName"] == "Shop"
    assert PERSON not in repr(account)


@pytest.mark.parametrize(
    ("script", "told"),
    [
        (None, r"credentials: none: .*nor is there an `az`.*Run `az login`, or set ARM_CLIENT_ID"),
        (
            "echo 'ERROR: Please run az login' >&2; echo more >&2; exit 1",
            r"credentials: ERROR: Please run az login; .*az",
        ),
        ("echo no json", r"`az` gives no token: JSONDecodeError"),
        ("echo '{}'", r"`az` gives no token: KeyError"),
    ],
)
def test_nobody_is_logged_in(az: Callable[[str], None], script: str | None, told: str) -> None:
    if script is not None:
        az(script)
    with pytest.raises(UnderstudyError, match=told):
        log_in(PAYS, {"ARM_CLIENT_ID": "only-a-part"})


def test_an_account_for_programs(azure: Azure, az: Callable[[str], None]) -> None:
    given = {"ARM_CLIENT_ID": "program-1", "ARM_CLIENT_SECRET": "right", "ARM_TENANT_ID": "tenant-1"}
    assert log_in(PAYS, given, azure.address, azure.address).token == PROGRAM
    with pytest.raises(
        UnderstudyError, match=r"invalid_client: AADSTS7000215: Invalid secret\.\. Correct ARM_CLIENT_ID"
    ):
        log_in(PAYS, {**given, "ARM_CLIENT_SECRET": "wrong"}, azure.address, azure.address)


def test_a_token_that_is_good_no_more(azure: Azure) -> None:
    with pytest.raises(UnderstudyError, match=r"InvalidAuthenticationToken: The token is expired\.\. Run `az login`"):
        Account(subscription=PAYS, token="old", address=azure.address).get("", "2022-12-01")


def test_who_may_not(azure: Azure) -> None:
    azure.refuses[f"{COMPUTE}/skus"] = 403, {"error": {"code": "AuthorizationFailed", "message": "No right."}}
    with pytest.raises(UnderstudyError, match=rf"AuthorizationFailed: No right.*role Contributor .*/{PAYS}`"):
        examined(azure)


def test_no_such_subscription_and_one_that_is_off(azure: Azure) -> None:
    with pytest.raises(UnderstudyError, match=r"SubscriptionNotFound: .*az account list.*cloud\.subscription"):
        examined(azure, pays=PAYS.replace("0a1b", "ffff"))
    azure.answers[f"/subscriptions/{PAYS}"]["state"] = "Disabled"
    with pytest.raises(UnderstudyError, match=r"it is Disabled; wanted a subscription that is enabled"):
        examined(azure)


def test_a_service_that_the_subscription_was_never_told_of(azure: Azure) -> None:
    azure.answers[f"/subscriptions/{PAYS}/providers/Microsoft.Network"] = {"registrationState": "NotRegistered"}
    with pytest.raises(UnderstudyError, match=rf"az provider register --namespace Microsoft\.Network .*{PAYS} --wait"):
        examined(azure)


def test_no_such_region(azure: Azure) -> None:
    with pytest.raises(UnderstudyError, match=r"region westeurop: .*did you mean westeurope\?.*Capacity\.yaml"):
        examined(azure, region="westeurop")


def test_no_image_of_the_publisher(azure: Azure) -> None:
    path = next(path for path in azure.answers if path.endswith("/versions"))
    azure.answers[path] = []
    with pytest.raises(UnderstudyError, match=r"no Debian:debian-12:12-gen2; .*az vm image list --all --location west"):
        examined(azure)


def test_ones_own_image(azure: Azure) -> None:
    assert examined(azure, image=CloudImage(owner="images", name="shop-*")) == ["Azure westeurope: in Shop"]
    with pytest.raises(UnderstudyError, match=r"image hop-\*: none .* group images; it has shop-7, other"):
        examined(azure, image=CloudImage(owner="images", name="hop-*"))


def test_a_size_that_is_not_sold_or_not_to_us(azure: Azure) -> None:
    told = r"Standard_E2s_v5: NotAvailableForSubscription, Standard_X1: not sold there; .*place --again"
    with pytest.raises(UnderstudyError, match=told):
        examined(azure, {"Standard_B2s": 2, "Standard_E2s_v5": 2, "Standard_X1": 1})


def test_too_small_a_quota_counts_what_others_have_and_not_ones_own(azure: Azure) -> None:
    # Of the family's ten others have two, of all twenty four: the stack's own two there are not counted again.
    examined(azure, {"Standard_B2s": 8})
    with pytest.raises(
        UnderstudyError, match=r"10 vCPUs of standardBSFamily, of which others use 2; wanted 10 more"
    ) as few:
        examined(azure, {"Standard_B2s": 10})
    assert "--resource-name standardBSFamily --scope" in str(few.value)
    assert "--limit-object value=12" in str(few.value)
    examined(azure, {"Standard_D4s_v5": 16})
    with pytest.raises(UnderstudyError, match=r"20 vCPUs of cores, of which others use 4; wanted 18 more"):
        examined(azure, {"Standard_B2s": 2, "Standard_D4s_v5": 16})


def test_a_list_goes_on_but_never_elsewhere(azure: Azure) -> None:
    first = azure.answers[f"{COMPUTE}/skus"]["value"]
    azure.answers[f"{COMPUTE}/skus"] = {"value": first[1:], "nextLink": f"{azure.address}/more?api-version=1"}
    azure.answers["/more"] = {"value": first[:1]}
    examined(azure)
    azure.answers["/more"] = {"value": [], "nextLink": "http://elsewhere.example/more"}
    with pytest.raises(UnderstudyError, match=r"its next page is elsewhere, at elsewhere\.example"):
        examined(azure)
    azure.answers["/more"] = {"value": [], "nextLink": f"{azure.address}/more?api-version=1"}
    with pytest.raises(UnderstudyError, match="more than 50 pages"):
        examined(azure)


def test_azure_does_not_answer(azure: Azure) -> None:
    azure.refuses[f"{COMPUTE}/skus"] = 200, "<html>"
    with pytest.raises(UnderstudyError, match=r"no answer: JSONDecodeError.*network"):
        examined(azure)
    azure.refuses[f"{COMPUTE}/skus"] = 502, "<html>"
    with pytest.raises(UnderstudyError, match=r"502: Bad Gateway"):
        examined(azure)
    with pytest.raises(UnderstudyError, match=r"no answer: URLError.*network"):
        Account(subscription=PAYS, token=PERSON, address="http://127.0.0.1:9").get("", "1")
