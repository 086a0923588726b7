"""A bucket of an S3-compatible service, with backups. Only what is asked for is fetched, and kept on this machine."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from model.errors import UnderstudyError
from model.rules import bucket_parts
from model.snapshot import BadBackup, Flaw
from provisioners.outcome import Say, pause
from provisioners.stores.storage import Entry, Tree

_CHUNK = 1 << 20
_TRIES = 4


class Bucket:
    """A bucket, or a part of one below a prefix. Credentials are those that AWS's own tools would take.

    Args:
        address: ``s3://bucket/prefix``.
        endpoint: address of an S3-compatible service; empty for AWS.
        region: the bucket's region.
        cache: a directory of this machine for what is fetched; only the newest fetch is kept.
        profile: name of the credentials in ``~/.aws``; empty for the usual ones.
    """

    def __init__(self, address: str, endpoint: str, region: str, cache: Path, profile: str = "") -> None:
        from botocore.config import Config  # with boto3 it takes a third of a second, and only buckets need it

        self.where = address
        self._bucket, prefix = bucket_parts(address)
        self._prefix = f"{prefix}/" if prefix else ""
        retries = Config(retries={"max_attempts": 5, "mode": "standard"}, connect_timeout=10, read_timeout=60)
        self._client: Any = aws_session(profile).client(
            "s3", endpoint_url=endpoint or None, region_name=region or None, config=retries
        )
        self._cache = cache / hashlib.sha256(f"{endpoint} {address}".encode()).hexdigest()[:12]

    def entries(self, prefix: str = "") -> dict[str, Entry]:
        """Return the objects below, by name."""
        found: dict[str, Entry] = {}

        def list_all() -> None:
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._prefix + prefix
            )
            for page in pages:
                for each in page.get("Contents", ()):
                    name = each["Key"][len(self._prefix) :] or each["Key"].rpartition("/")[2]
                    if not each["Key"].endswith("/"):
                        found[name] = Entry(size_bytes=each["Size"], changed_at=each["LastModified"], mark=each["ETag"])

        self._asked(list_all)
        if not found and self._prefix and not prefix:
            self._only_object(found)
        return found

    def read(self, name: str, start: int = 0, size: int = -1) -> bytes | None:
        """Return a part of an object; counted from its end where ``start`` is negative."""
        last = "" if size < 0 or start < 0 else str(start + size - 1)
        span = f"bytes={start}" if start < 0 else f"bytes={start}-{last}"

        def get() -> bytes | None:
            from botocore.exceptions import ClientError

            try:
                found = self._client.get_object(
                    Bucket=self._bucket, Key=self._key(name), **({} if span == "bytes=0-" else {"Range": span})
                )
            except ClientError as error:
                code = error.response.get("Error", {}).get("Code", "")
                if code in ("NoSuchKey", "404"):
                    return None
                if code == "InvalidRange":
                    return b""
                raise
            return bytes(found["Body"].read())

        found: bytes | None = self._asked(get)
        return found

    def refuse_writing(self) -> None:
        """See that the credentials cannot write: a part is sent for an upload that is not there.

        With the right to write, the service says that there is no such upload; nothing is written in any case.

        Raises:
            UnderstudyError: they can, or the service does not say that they cannot.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        key, code = self._key("understudy-may-not-write-this"), "nothing"

        def send() -> None:
            self._client.upload_part(Bucket=self._bucket, Key=key, PartNumber=1, UploadId="none-of-this-name", Body=b"")

        try:
            send()
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
        except BotoCoreError:
            self._asked(send)
        if code not in ("AccessDenied", "403"):
            raise UnderstudyError(
                where=self.where,
                found=f"credentials that are not refused to write there (the service says {code})",
                wanted="credentials that can only read: machines in a cloud are given them",
                todo="Allow them s3:GetObject and s3:ListBucket, and nothing else.",
            )

    def tree(self, names: Iterable[str], say: Say) -> Tree:
        """Fetch the objects, going on where an earlier fetch was cut off."""
        known = self.entries()
        wanted = {name: known[name] for name in sorted(names) if name in known}
        total = sum(entry.size_bytes for entry in wanted.values())
        self._forget_others(frozenset(self._path(name, entry) for name, entry in wanted.items()))
        root, done = self._cache / "tree", 0
        for name, entry in wanted.items():
            path = self._path(name, entry)
            if not path.exists():
                say(f"fetching the backup from {self.where}: {done >> 20} of {total >> 20} MiB")
                self._fetch(name, entry, path)
            link = root / name
            link.parent.mkdir(parents=True, exist_ok=True)
            link.unlink(missing_ok=True)
            link.hardlink_to(path)
            done += entry.size_bytes
        return Tree(root=root, names=tuple(wanted), size_bytes=total)

    def _only_object(self, found: dict[str, Entry]) -> None:
        """The address may be that of one object."""
        key = self._prefix.rstrip("/")

        def look() -> None:
            from botocore.exceptions import ClientError

            with suppress(ClientError):
                each = self._client.head_object(Bucket=self._bucket, Key=key)
                found[key.rpartition("/")[2]] = Entry(
                    size_bytes=each["ContentLength"], changed_at=each["LastModified"], mark=each["ETag"]
                )
                self._prefix = f"{key.rpartition('/')[0]}/" if "/" in key else ""

        self._asked(look)

    def _key(self, name: str) -> str:
        return self._prefix + name

    def _path(self, name: str, entry: Entry) -> Path:
        return self._cache / "objects" / hashlib.sha256(f"{name} {entry.mark}".encode()).hexdigest()[:40]

    def _forget_others(self, wanted: frozenset[Path]) -> None:
        objects = self._cache / "objects"
        self._cache.mkdir(parents=True, exist_ok=True)
        self._cache.chmod(0o700)  # what a backup holds is nobody else's to read
        objects.mkdir(exist_ok=True)
        for path in objects.iterdir():
            if path.with_suffix("") not in wanted:
                path.unlink(missing_ok=True)
        shutil.rmtree(self._cache / "tree", ignore_errors=True)

    def _fetch(self, name: str, entry: Entry, path: Path) -> None:
        part = path.with_suffix(".part")
        for attempt in range(_TRIES):
            have = part.stat().st_size if part.exists() else 0
            if have < entry.size_bytes or not entry.size_bytes:
                with suppress(_Interrupted):
                    self._asked(lambda start=have: self._append(name, start, part))  # type: ignore[misc]
            if part.stat().st_size == entry.size_bytes:
                os.utime(part, times=(entry.changed_at.timestamp(),) * 2)
                part.chmod(0o644)
                part.rename(path)
                return
            pause(0.5 * attempt, self.where)
        part.unlink(missing_ok=True)
        raise BadBackup(Flaw.UNREADABLE, where=f"{self.where}: {name}", found="it does not arrive whole")

    def _append(self, name: str, start: int, part: Path) -> None:
        from botocore.exceptions import HTTPClientError, ResponseStreamingError

        found = self._client.get_object(
            Bucket=self._bucket, Key=self._key(name), **({"Range": f"bytes={start}-"} if start else {})
        )
        try:
            with part.open("ab") as file:
                for chunk in found["Body"].iter_chunks(_CHUNK):
                    file.write(chunk)
        except (HTTPClientError, ResponseStreamingError) as error:
            raise _Interrupted from error

    def _asked(self, ask: Callable[[], Any]) -> Any:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return ask()
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            flaw = Flaw.ABSENT if code in ("NoSuchBucket", "404") else Flaw.UNREADABLE
            raise BadBackup(
                flaw, where=self.where, found=f"the service says {code}: {_said(error.response)}"
            ) from error
        except BotoCoreError as error:
            raise UnderstudyError(
                where=self.where, found=str(error), todo="Look at the bucket's address, region, and AWS_* credentials."
            ) from error


def aws_session(profile: str) -> Any:
    """Return boto3's session with the credentials of a profile; with the usual ones where that is empty.

    Raises:
        UnderstudyError: there is no such profile.
    """
    import boto3
    from botocore.exceptions import ProfileNotFound

    try:
        return boto3.session.Session(profile_name=profile or None)
    except ProfileNotFound as error:
        todo = f"Run `aws configure --profile {profile}`; `aws configure list-profiles` names those that are there."
        raise UnderstudyError(where="credentials", found=str(error), todo=todo) from None


class _Interrupted(Exception):
    """The connection ended in the middle of an object."""


def _said(response: Mapping[str, Any]) -> str:
    return str(response.get("Error", {}).get("Message", "no reason"))


def cache_directory() -> Path:
    """Return where what is fetched from buckets is kept for this user."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "understudy" / "backups"
