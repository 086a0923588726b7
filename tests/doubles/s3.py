"""A service like S3 with TLS, names and rights: moto in a process of its own, which asks who may do what.

`python -m tests.doubles.s3 ADDRESS CERTIFICATE KEY FILE` serves there, and writes its port into the file.
"""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import boto3
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

ROOT = Path(__file__).parents[2]
REGION = "eu-central-1"
BUCKET = "shop-offsite"
_READING = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": ["s3:GetObject", "s3:ListBucket"], "Resource": "*"}],
}
_ALL = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}


@dataclass(frozen=True, slots=True, kw_only=True)
class OffsiteService:
    """The service, with the bucket ``shop-offsite`` in it.

    Args:
        endpoint: its address, by its name.
        direct: its address, for who does not know the name.
        certificate: path of the certificate that it shows.
        credentials: a file as ``~/.aws/credentials``, with the profiles ``reader`` and ``writer``.
    """

    endpoint: str
    direct: str
    certificate: Path
    credentials: Path

    def client(self, profile: str) -> Any:
        """Return boto3's client with the rights of a profile."""
        key, secret = _keys(self.credentials, profile)
        return boto3.client(
            "s3",
            endpoint_url=self.direct,
            region_name=REGION,
            verify=str(self.certificate),
            aws_access_key_id=key,
            aws_secret_access_key=secret,
        )

    def known_here(self, name: str, patch: pytest.MonkeyPatch) -> None:
        """Let this process know the service's name and certificate, and of all credentials those in its file alone."""
        real = socket.getaddrinfo

        def asked(host: Any, *rest: Any, **more: Any) -> Any:
            return real("127.0.0.1" if host == name else host, *rest, **more)

        patch.setattr(socket, "getaddrinfo", asked)
        patch.setenv("AWS_CA_BUNDLE", str(self.certificate))
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(self.credentials))
        for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
            patch.delenv(variable, raising=False)

    def store(self, directory: Path, prefix: str) -> None:
        """Put all files of a directory into the bucket."""
        client = self.client("writer")
        for path in sorted(directory.rglob("*")):
            if path.is_file():
                client.upload_file(str(path), BUCKET, f"{prefix}/{path.relative_to(directory)}")


def _keys(credentials: Path, profile: str) -> tuple[str, str]:
    lines = credentials.read_text().partition(f"[{profile}]\n")[2].splitlines()
    return lines[0].partition(" = ")[2], lines[1].partition(" = ")[2]


@contextmanager
def offsite_service(directory: Path, name: str, address: str = "127.0.0.1") -> Iterator[OffsiteService]:
    """Give a service that answers by that name, which whoever asks has to know by other means.

    Args:
        directory: an empty directory.
        name: in its certificate.
        address: where it listens.
    """
    certificate, key, told = directory / "ca.pem", directory / "key.pem", directory / "port"
    _certify(name, address, certificate, key)
    words = (sys.executable, "-m", "tests.doubles.s3", address, str(certificate), str(key), str(told))
    server = subprocess.Popen(words, cwd=ROOT, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 60
        while not told.exists():
            assert server.poll() is None
            assert time.monotonic() < until
            time.sleep(0.05)
        port = told.read_text()
        direct = f"https://{address}:{port}"
        made = _populate(direct, certificate)
        credentials = directory / "credentials"
        credentials.write_text(
            "".join(
                f"[{profile}]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n"
                for profile, (key, secret) in made.items()
            )
        )
        named = f"https://{name}:{port}"
        yield OffsiteService(endpoint=named, direct=direct, certificate=certificate, credentials=credentials)
    finally:
        server.terminate()
        server.wait(30)


def _certify(name: str, address: str, certificate: Path, key: Path) -> None:
    private, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    names = x509.SubjectAlternativeName([x509.DNSName(name), x509.IPAddress(IPv4Address(address))])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(private, hashes.SHA256())
    )
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    form = serialization.PrivateFormat.PKCS8
    key.write_bytes(private.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))


def _populate(endpoint: str, certificate: Path) -> dict[str, tuple[str, str]]:
    """Make the bucket and who may read and write it; from then on, nobody else may do anything."""
    common: Any = {"endpoint_url": endpoint, "region_name": REGION, "verify": str(certificate)}
    common |= {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    iam, made = boto3.client("iam", **common), {}
    for profile, policy in (("reader", _READING), ("writer", _ALL)):
        iam.create_user(UserName=profile)
        iam.put_user_policy(UserName=profile, PolicyName="rights", PolicyDocument=json.dumps(policy))
        found = iam.create_access_key(UserName=profile)["AccessKey"]
        made[profile] = (found["AccessKeyId"], found["SecretAccessKey"])
    where = {"LocationConstraint": REGION}
    boto3.client("s3", **common).create_bucket(Bucket=BUCKET, CreateBucketConfiguration=where)
    return made


_UNASKED = 7
"""How many of the first requests nobody is asked about: those of `_populate`."""


def serve(address: str, certificate: str, key: str, told: Path) -> None:
    os.environ |= {"INITIAL_NO_AUTH_ACTION_COUNT": str(_UNASKED), "S3_IGNORE_SUBDOMAIN_BUCKETNAME": "true"}
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    app = DomainDispatcherApplication(create_backend_app)
    server = make_server(address, 0, app, threaded=True, ssl_context=context)
    unfinished = told.with_suffix(".new")
    unfinished.write_text(str(server.server_port))
    unfinished.rename(told)
    server.serve_forever()


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2], sys.argv[3], Path(sys.argv[4]))
