"""What an AWS account lacks is said before anything is made, each with the line to type."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import boto3
import pytest

from model.errors import UnderstudyError
from model.rented import DEBIAN, IMAGE_NAMES
from provisioners.clouds.aws import examine

REGION = "eu-central-1"


@pytest.fixture(autouse=True)
def account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No account but the one that a test gives: none of this computer's, and no machine's role."""
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def opened(ec2: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("AWS_ENDPOINT_URL", ec2)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    return ec2


@pytest.fixture
def quota(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The service that tells quotas, which moto has for other services alone: eight vCPUs, five addresses, 60 rules."""

    class Eight(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked = self.headers["X-Amz-Target"]
            assert asked == "ServiceQuotasV20190624.GetServiceQuota"
            values = {("ec2", "L-1216C47A"): 8.0, ("ec2", "L-0263D0A3"): 5.0, ("vpc", "L-0EA8095F"): 60.0}
            value = values[told["ServiceCode"], told["QuotaCode"]]
            body = json.dumps({"Quota": {"QuotaCode": told["QuotaCode"], "Value": value}}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Eight)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL_SERVICE_QUOTAS", f"http://127.0.0.1:{server.server_port}")
    yield
    server.shutdown()
    server.server_close()


OWNER = "understudy-dr-a2ad7316"


def examined(
    region: str = REGION,
    wanted: dict[str, int] | None = None,
    names: str = IMAGE_NAMES,
    addresses: int = 0,
    rules: int = 0,
) -> list[str]:
    said: list[str] = []
    examine(region, DEBIAN, names, wanted or {"t3.micro": 2}, OWNER, said.append, addresses, rules)
    return said


def test_an_account_that_has_it_all(opened: str, quota: None) -> None:
    assert examined(wanted={"t3.micro": 4, "t3.small": 4}) == [f"AWS {REGION}: as arn:aws:sts::123456789012:user/moto"]


def test_no_credentials() -> None:
    with pytest.raises(UnderstudyError, match=r"credentials: none: .*Run `aws configure`, or `export AWS_PROFILE"):
        examined()


def test_a_profile_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(UnderstudyError, match=r"nobody.*aws configure list-profiles"):
        examined()


def test_no_such_region_is_seen_without_a_network() -> None:
    with pytest.raises(UnderstudyError, match=r"region eu-centrall-1: .*did you mean eu-central-1\?.*Capacity\.yaml"):
        examined("eu-centrall-1")


def test_aws_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    with pytest.raises(UnderstudyError, match=r"no answer: .*network"):
        examined()


def test_no_image_of_the_publisher_though_somebody_else_has_one(opened: str) -> None:
    with pytest.raises(UnderstudyError, match=r"image: none that is called debian-13-\* of the account 136693071363"):
        examined(names="debian-13-*")


def test_a_size_that_is_not_to_be_had_there(opened: str) -> None:
    with pytest.raises(UnderstudyError, match=r"sizes: no x9\.huge in eu-central-1a"):
        examined(wanted={"t3.micro": 2, "x9.huge": 2})


def test_too_small_a_quota_counts_what_others_run_and_not_ones_own(opened: str, quota: None) -> None:
    ec2 = boto3.client("ec2", endpoint_url=opened, region_name=REGION)
    image = ec2.describe_images(Owners=[DEBIAN])["Images"][0]["ImageId"]
    for owner in (OWNER, "somebody"):
        tags = [{"ResourceType": "instance", "Tags": [{"Key": "owner", "Value": owner}]}]
        ec2.run_instances(ImageId=image, InstanceType="t3.micro", MinCount=1, MaxCount=1, TagSpecifications=tags)
    others = ec2.describe_instances()["Reservations"][0]["Instances"][0].get("CpuOptions")
    used = others["CoreCount"] * others["ThreadsPerCore"] if others else 1
    examined(wanted={"t3.micro": 8 - used})
    with pytest.raises(UnderstudyError, match=rf"8 vCPUs .* others use {used}; wanted {9 - used} more") as caught:
        examined(wanted={"t3.micro": 9 - used})
    assert f"--quota-code L-1216C47A --desired-value 9 --region {REGION}" in str(caught.value)


def test_addresses_that_stay_have_a_quota_of_their_own(opened: str, quota: None) -> None:
    ec2 = boto3.client("ec2", endpoint_url=opened, region_name=REGION)
    for owner in (OWNER, OWNER, "somebody"):
        tags = [{"ResourceType": "elastic-ip", "Tags": [{"Key": "owner", "Value": owner}]}]
        ec2.allocate_address(Domain="vpc", TagSpecifications=tags)
    examined(addresses=4)
    with pytest.raises(UnderstudyError, match=r"5 addresses that stay \(Elastic IP\), of which others use 1") as caught:
        examined(addresses=5)
    assert f"--quota-code L-0263D0A3 --desired-value 6 --region {REGION}" in str(caught.value)


def test_a_fence_with_more_rules_than_a_group_may_have(opened: str, quota: None) -> None:
    examined(addresses=1, rules=60)
    with pytest.raises(UnderstudyError, match=r"60 rules in a security group; wanted 61 more for this stack") as caught:
        examined(addresses=1, rules=61)
    assert f"--service-code vpc --quota-code L-0EA8095F --desired-value 61 --region {REGION}" in str(caught.value)


def test_a_quota_that_may_not_be_looked_at_is_said_and_no_fault(opened: str) -> None:
    said = examined()
    assert said[-1].startswith("the quota of vCPUs could not be looked at: ")
