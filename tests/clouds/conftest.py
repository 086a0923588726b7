"""Terraform's real AWS provider as a Pulumi plugin, and an EC2 on loopback for it. Without the first nothing is run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import boto3
import pytest

ROOT = Path(__file__).parents[2]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "understudy", "aws-plugin")
PLACES = ("~/.terraform.d/plugins", "/usr/local/share/terraform/plugins", "/usr/share/terraform/plugins", "/opt/*")
"""Where Terraform looks for providers by itself, and where others put them."""
IMAGE = {
    "ami_id": "ami-0d0e0b0a0d000012a",
    "name": "debian-12-amd64-20261101-2265",
    "owner_id": "136693071363",
    "description": "Debian 12",
    "public": True,
    "virtualization_type": "hvm",
    "architecture": "x86_64",
    "state": "available",
    "platform": None,
    "image_type": "machine",
    "hypervisor": "xen",
    "root_device_name": "/dev/xvda",
    "root_device_type": "ebs",
    "sriov": "simple",
    "creation_date": "2026-11-01T00:00:00.000Z",
}
FOREIGN = {**IMAGE, "ami_id": "ami-0d0e0b0a0d000012c", "owner_id": "999999999999", "name": "debian-12-amd64-20261201-9"}


class Lacking(Exception):
    """What is not on this computer, in words."""


def lacking(what: str) -> None:
    pytest.skip(f"NOT RUN: {what}. AWS's backend is then shown by tests/components alone")


@pytest.fixture(scope="module")
def aws_provider() -> str:
    """Return the path of Terraform's AWS provider."""
    try:
        return found_provider()
    except Lacking as error:
        lacking(str(error))
        raise


@pytest.fixture(scope="module")
def aws_plugin(aws_provider: str) -> Path:
    """Return the directory of a `pulumi-resource-aws` that wraps it; built where it is not there yet, in minutes."""
    try:
        return built_plugin()
    except Lacking as error:
        lacking(str(error))
        raise


def found_provider() -> str:
    """Return the path of Terraform's AWS provider.

    Raises:
        Lacking: it is nowhere.
    """
    if given := os.environ.get("TF_AWS_PROVIDER"):
        return given
    pattern = "registry.terraform.io/hashicorp/aws/5.*/*/terraform-provider-aws*"
    for place in PLACES:
        home = Path(place).expanduser()
        if found := sorted(Path("/").glob(f"{str(home).lstrip('/')}/{pattern}")):
            return str(found[-1])
    raise Lacking(f"Terraform's AWS provider 5 is in none of {', '.join(PLACES)}, nor named by TF_AWS_PROVIDER")


def built_plugin() -> Path:
    """Return the directory of the plugin around it; built where it is not there yet.

    Raises:
        Lacking: it cannot be built here.
    """
    source = Path(os.environ.get("UNDERSTUDY_AWS_PLUGIN", ROOT.parent / "shared" / "tools" / "aws-plugin"))
    if not (source / "main.go").is_file():
        raise Lacking(
            "what makes a Pulumi plugin of it is not beside the repository, nor named by UNDERSTUDY_AWS_PLUGIN"
        )
    if not shutil.which("go"):
        raise Lacking("there is no Go to build the plugin with")
    parts = (source / name for name in ("main.go", "go.mod", "go.sum"))
    built = CACHE / sha256(b"".join(part.read_bytes() for part in parts)).hexdigest()[:12]
    if not (built / "pulumi-resource-aws").is_file():
        unfinished = CACHE / f".unfinished-{os.getpid()}"
        shutil.copytree(source, unfinished / "source")
        argv = ("go", "build", "-trimpath", "-o", str(unfinished / "pulumi-resource-aws"), ".")
        subprocess.run(argv, cwd=unfinished / "source", check=True)
        shutil.rmtree(unfinished / "source")
        unfinished.rename(built)
    return built


@pytest.fixture
def ec2(tmp_path: Path) -> Iterator[str]:
    """Return the address of an AWS on loopback whose only images are Debian's and one of somebody else's."""
    with serve_ec2(tmp_path) as address:
        yield address


def client_of(address: str, region: str = "eu-central-1") -> Any:
    """Return boto3's client of the EC2 of such an AWS, where anybody's keys are good."""
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    return boto3.client("ec2", endpoint_url=address, region_name=region, **keys)


def environment_of(address: str, provider: str) -> dict[str, str]:
    """Return what lets the plugin find such an AWS, and Terraform's provider."""
    return {
        "TF_AWS_PROVIDER": provider,
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


@contextmanager
def serve_ec2(directory: Path, *public: str) -> Iterator[str]:
    """Give such an AWS; where a network is given, its machines have public addresses in that."""
    (directory / "images.json").write_text(json.dumps([FOREIGN, IMAGE]))
    address = directory / "address"
    environment = {**os.environ, "MOTO_AMIS_PATH": str(directory / "images.json")}
    server = subprocess.Popen(
        [sys.executable, str(Path(__file__).parent / "cloud.py"), str(address), *public],
        env=environment,
        stderr=subprocess.DEVNULL,
    )
    try:
        until = time.monotonic() + 60
        while not address.exists():
            assert server.poll() is None
            assert time.monotonic() < until
            time.sleep(0.05)
        yield address.read_text()
    finally:
        server.terminate()
        server.wait(30)
