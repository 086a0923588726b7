"""What a project at Google lacks is said before anything is made, each with the line to type, by a Google made up."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from model.capacity import CloudImage
from model.errors import UnderstudyError
from model.rented import GOOGLE_IMAGE
from provisioners.clouds.google import examine
from provisioners.clouds.google_account import Account, log_in
from tests.doubles.service import JsonHandler, serving

PAYS, REGION, MINE, TOKEN = "shop-dr", "europe-west3", "understudy-dr-a2ad7316", "a-token"
BASE = f"/projects/{PAYS}"
REFRESH = {"type": "authorized_user", "client_id": "i", "client_secret": "s", "refresh_token": "right"}


def quota(metric: str, limit: float, usage: float) -> dict[str, Any]:
    return {"metric": metric, "limit": limit, "usage": usage}


def machine(zone: str, size: str, status: str = "RUNNING") -> dict[str, str]:
    return {"zone": f"https://x/zones/{zone}", "machineType": f"https://x/machineTypes/{size}", "status": status}


def usual() -> dict[str, Any]:
    """Return what a project that lacks nothing answers, by path."""
    return {
        BASE: {"name": PAYS, "quotas": [quota("CPUS_ALL_REGIONS", 32, 8)]},
        f"{BASE}/regions": {"items": [{"name": REGION}, {"name": "europe-west1"}]},
        f"{BASE}/regions/{REGION}": {"quotas": [quota("CPUS", 10, 4), quota("IN_USE_ADDRESSES", 8, 3)]},
        f"{BASE}/zones": {"items": [{"name": f"{REGION}-b"}, {"name": f"{REGION}-a"}, {"name": "europe-west1-a"}]},
        f"{BASE}/zones/{REGION}-a/machineTypes/e2-small": {"guestCpus": 2},
        f"{BASE}/zones/{REGION}-a/machineTypes/n2-standard-2": {"guestCpus": 2},
        f"{BASE}/aggregated/instances": {
            "items": {
                f"zones/{REGION}-a": {
                    "instances": [machine(f"{REGION}-a", "e2-small"), machine(f"{REGION}-a", "e2-small", "TERMINATED")]
                },
                "zones/europe-west1-a": {"instances": [machine("europe-west1-a", "e2-small")]},
                "zones/us-east1-b": {"warning": {"code": "NO_RESULTS_ON_PAGE"}},
            }
        },
        "/projects/debian-cloud/global/images/family/debian-12": {"name": "debian-12-bookworm-v20261110"},
    }


class Google:
    """A Google on loopback, with what it answers and what it was asked."""

    def __init__(self) -> None:
        self.answers, self.asked, self.refuses = usual(), list[str](), dict[str, tuple[int, Any]]()
        self.told: dict[str, list[str]] = {}
        google = self

        class Handler(JsonHandler, BaseHTTPRequestHandler):  # the second tells Ruff whose the names are
            def do_GET(self) -> None:
                path = urlsplit(self.path).path
                google.asked.append(self.path)
                if self.headers["Authorization"] != f"Bearer {TOKEN}":
                    self.say(401, {"error": {"code": 401, "message": "Invalid.", "errors": [{"reason": "authError"}]}})
                elif path in google.refuses:
                    self.say(*google.refuses[path])
                elif path in google.answers:
                    self.say(200, google.answers[path])
                else:
                    self.say(404, {"error": {"code": 404, "message": "not found"}})

            def do_POST(self) -> None:
                google.told = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
                if "assertion" in google.told or google.told["refresh_token"] == ["right"]:
                    self.say(200, {"access_token": TOKEN})
                else:
                    self.say(400, {"error": "invalid_grant", "error_description": "Bad Request"})

        self.handler, self.address = Handler, ""


@pytest.fixture
def google() -> Iterator[Google]:
    found = Google()
    with serving(found.handler) as found.address:
        yield found


def logged_in(google: Google, environment: dict[str, str], home: Path) -> Account | None:
    return log_in(PAYS, environment, home, google.address, f"{google.address}/token")


def examined(
    google: Google,
    wanted: dict[str, tuple[int, int]] | None = None,
    region: str = REGION,
    image: CloudImage = GOOGLE_IMAGE,
    pays: str = PAYS,
    addresses: int = 0,
    elsewhere: int = 0,
) -> list[str]:
    said: list[str] = []
    account = Account(project=pays, token=TOKEN, address=google.address)
    examine(account, region, image, wanted or {"e2-small": (2, 4)}, MINE, said.append, addresses, elsewhere)
    return said


def test_a_project_that_has_it_all(google: Google) -> None:
    assert examined(google, {"e2-small": (1, 2), "n2-standard-2": (1, 2)}) == [
        f"Google {REGION}: in {PAYS}",
        "the newest image of debian-12: debian-12-bookworm-v20261110",
    ]
    assert any("labels.owner" in line and MINE in line for line in google.asked)


def test_a_token_that_is_given(google: Google, tmp_path: Path) -> None:
    found = logged_in(google, {"GOOGLE_OAUTH_ACCESS_TOKEN": TOKEN}, tmp_path)
    assert found is not None
    assert found.get("")["name"] == PAYS
    assert TOKEN not in repr(found)


def test_of_a_login_and_of_a_file(google: Google, tmp_path: Path) -> None:
    with pytest.raises(UnderstudyError, match=r"none: no .*gcloud auth application-default login"):
        logged_in(google, {}, tmp_path)
    usual = tmp_path / ".config/gcloud/application_default_credentials.json"
    usual.parent.mkdir(parents=True)
    usual.write_text(json.dumps(REFRESH))
    found = logged_in(google, {}, tmp_path)
    assert found is not None
    assert found.token == TOKEN
    assert google.told["grant_type"] == ["refresh_token"]
    elsewhere = tmp_path / "elsewhere"
    for given in (
        {"CLOUDSDK_CONFIG": str(usual.parent)},
        {"GOOGLE_CREDENTIALS": json.dumps(REFRESH)},
        {"GOOGLE_CREDENTIALS": str(usual)},
        {"GOOGLE_APPLICATION_CREDENTIALS": str(usual)},
    ):
        assert logged_in(google, given, elsewhere) == found
    with pytest.raises(UnderstudyError, match="none: no /nowhere"):
        logged_in(google, {"GOOGLE_APPLICATION_CREDENTIALS": "/nowhere"}, tmp_path)


def test_an_account_for_programs_signs_with_its_key(google: Google, tmp_path: Path) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    told = {"type": "service_account", "client_email": "a@b", "private_key_id": "k1", "private_key": text}
    found = logged_in(google, {"GOOGLE_CREDENTIALS": json.dumps(told)}, tmp_path)
    assert found is not None
    head, claims, signature = google.told["assertion"][0].encode().split(b".")
    key.public_key().verify(decoded(signature), head + b"." + claims, padding.PKCS1v15(), SHA256())
    said = json.loads(decoded(claims))
    assert (said["iss"], said["aud"]) == ("a@b", f"{google.address}/token")
    assert 0 < said["exp"] - said["iat"] <= 3600

    other = ed25519.Ed25519PrivateKey.generate()
    wrong = other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    for private in (wrong, "no key"):
        with pytest.raises(UnderstudyError, match="GOOGLE_CREDENTIALS cannot be used"):
            logged_in(google, {"GOOGLE_CREDENTIALS": json.dumps({**told, "private_key": private})}, tmp_path)


def decoded(text: bytes) -> bytes:
    return urlsafe_b64decode(text + b"=" * (-len(text) % 4))


def test_credentials_that_google_does_not_take_any_more(google: Google, tmp_path: Path) -> None:
    old = {"GOOGLE_CREDENTIALS": json.dumps({**REFRESH, "refresh_token": "old"})}
    with pytest.raises(UnderstudyError, match=r"GOOGLE_CREDENTIALS: invalid_grant: Bad Request.*gcloud auth"):
        logged_in(google, old, tmp_path)
    with pytest.raises(UnderstudyError, match=r"authError: Invalid.*application-default login"):
        Account(project=PAYS, token="old", address=google.address).get("")


def test_what_only_the_plugin_can_use(google: Google, tmp_path: Path) -> None:
    assert logged_in(google, {"GOOGLE_CREDENTIALS": '{"type": "external_account"}'}, tmp_path) is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"type": 1}', "not json", '{"type": "authorized_user"}'])
def test_what_cannot_be_used(google: Google, text: str, tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    path.write_text(text)
    with pytest.raises(UnderstudyError, match="cannot be used"):
        logged_in(google, {"GOOGLE_APPLICATION_CREDENTIALS": str(path)}, tmp_path)


def test_no_such_project(google: Google) -> None:
    with pytest.raises(UnderstudyError, match=r"Google other: no such project\. `gcloud projects list`"):
        examined(google, pays="other")


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("accessNotConfigured", rf"gcloud services enable compute\.googleapis\.com --project {PAYS}`"),
        ("forbidden", r"add-iam-policy-binding shop-dr --member WHO --role roles/compute\.admin`"),
    ],
)
def test_who_may_not(google: Google, reason: str, told: str) -> None:
    google.refuses[BASE] = 403, {"error": {"code": 403, "message": "No.", "errors": [{"reason": reason}]}}
    with pytest.raises(UnderstudyError, match=rf"{reason}: No\..*{told}"):
        examined(google)


def test_no_such_region(google: Google) -> None:
    with pytest.raises(UnderstudyError, match=r"region europe-west33: .*did you mean europe-west3\?.*Capacity\.yaml"):
        examined(google, region="europe-west33")


def test_no_such_image(google: Google) -> None:
    own = CloudImage(owner="shop-images", name="shop")
    with pytest.raises(UnderstudyError, match=r"image shop: no family .* project shop-images; .*--project shop-images"):
        examined(google, image=own)


def test_a_size_that_the_zone_does_not_have(google: Google) -> None:
    with pytest.raises(UnderstudyError, match=r"no x9-huge in europe-west3-a; .*prices/gcp\.yaml"):
        examined(google, {"e2-small": (1, 2), "x9-huge": (1, 2)})
    google.answers[f"{BASE}/zones"] = {"items": [{"name": "europe-west1-a"}]}
    with pytest.raises(UnderstudyError, match="zones: none is up"):
        examined(google)


def test_too_small_a_quota_counts_what_others_have_and_not_ones_own(google: Google) -> None:
    # Of ten vCPUs others have two, of eight addresses two: the stack's own running machine there is not counted again.
    examined(google, {"e2-small": (4, 8)})
    with pytest.raises(UnderstudyError, match=r"10 of CPUS, of which others use 2; wanted 10 for this stack") as few:
        examined(google, {"e2-small": (5, 10)})
    assert "--quota-id CPUS-per-project-region --preferred-value 12 --dimensions region=europe-west3`" in str(few.value)
    google.answers[f"{BASE}/regions/{REGION}"]["quotas"][0]["limit"] = 100
    with pytest.raises(UnderstudyError, match=r"8 of IN_USE_ADDRESSES, of which others use 2; wanted 7"):
        examined(google, {"e2-small": (7, 14)})
    with pytest.raises(UnderstudyError, match=r"32 of CPUS_ALL_REGIONS, .* 6; wanted 28") as few:
        examined(google, {"n2-standard-2": (14, 28)})
    assert "--quota-id CPUS-ALL-REGIONS-per-project --preferred-value 34`" in str(few.value)


def test_all_regions_share_a_quota_of_the_project(google: Google) -> None:
    google.answers[f"{BASE}/zones/europe-west1-a/machineTypes/e2-small"] = {"guestCpus": 2}
    examined(google, {"n2-standard-2": (5, 26)}, elsewhere=2)
    with pytest.raises(UnderstudyError, match=r"32 of CPUS_ALL_REGIONS, of which others use 4; wanted 29"):
        examined(google, {"n2-standard-2": (5, 26)}, elsewhere=3)


def test_addresses_that_stay_have_a_quota_of_their_own(google: Google) -> None:
    google.answers[f"{BASE}/regions/{REGION}"]["quotas"].append(quota("STATIC_ADDRESSES", 4, 3))
    mine = [{"region": f"https://x/regions/{REGION}"}, {"region": "https://x/regions/europe-west1"}]
    google.answers[f"{BASE}/aggregated/addresses"] = {"items": {"regions/x": {"addresses": mine}}}
    examined(google, addresses=2)
    with pytest.raises(UnderstudyError, match=r"4 of STATIC_ADDRESSES, of which others use 2; wanted 3"):
        examined(google, addresses=3)


def test_a_list_has_pages_and_an_end(google: Google) -> None:
    google.answers[f"{BASE}/zones"] = {"items": [{"name": f"{REGION}-a"}], "nextPageToken": "again"}
    with pytest.raises(UnderstudyError, match="more than 50 pages of /zones"):
        examined(google)
    assert any("pageToken=again" in line for line in google.asked)


def test_google_does_not_answer() -> None:
    with pytest.raises(UnderstudyError, match=r"no answer: URLError.*network"):
        Account(project=PAYS, token=TOKEN, address="http://127.0.0.1:9").get("")
