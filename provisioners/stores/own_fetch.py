"""What pgBackRest on a machine is told that fetches its backup itself, from a bucket: for the time of one restore."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from urllib.parse import urlsplit

from model.errors import UnderstudyError
from model.offsite import aws_service
from model.rules import bucket_parts
from model.topology import Backup
from provisioners.stores.bucket import aws_session


def variables(backup: Backup) -> Mapping[str, str]:
    """Return the environment of the script that restores.

    The credentials are on the machine for as long as the restore runs. The addresses go with them, since a fenced
    machine has nobody to ask for a name.

    Raises:
        UnderstudyError: there are no credentials, or the service's name leads nowhere.

    Source: pgBackRest 2.45, "Configuration Reference", repository options of S3, and "environment variables".
    """
    credentials = aws_session(backup.profile).get_credentials()
    if credentials is None:
        where = f"{backup.location}: credentials"
        raise UnderstudyError(where=where, found="none", todo="Run `aws configure`, or name a `profile` in ~/.aws.")
    keys = credentials.get_frozen_credentials()
    bucket, prefix = bucket_parts(backup.location)
    service = urlsplit(backup.endpoint)
    told = {
        "repo1_type": "s3",
        "repo1_s3_bucket": bucket,
        "repo1_s3_region": backup.region,
        "repo1_s3_endpoint": service.hostname or aws_service(backup.region),
        "repo1_s3_uri_style": "path" if backup.endpoint else "host",
        "repo1_s3_key": keys.access_key,
        "repo1_s3_key_secret": keys.secret_key,
        **({"repo1_s3_token": keys.token} if keys.token else {}),
        **({"repo1_storage_port": str(service.port)} if service.port else {}),
    }
    asked = named(backup)
    hosts = "".join(f"{address} {asked}\n" for address in addresses(backup) if address != asked)
    return {
        **{f"PGBACKREST_{name.upper()}": text for name, text in told.items()},
        "REPOSITORY": f"/{prefix}",
        "HOSTS": hosts,
    }


def named(backup: Backup) -> str:
    """Return the name of the server that is asked for a bucket.

    >>> named(Backup(kind="pgbackrest", location="s3://copy/prod", region="eu-central-1"))
    'copy.s3.eu-central-1.amazonaws.com'
    """
    bucket, _ = bucket_parts(backup.location)
    return urlsplit(backup.endpoint).hostname or f"{bucket}.{aws_service(backup.region)}"


def addresses(backup: Backup) -> tuple[str, ...]:
    """Return the IPv4 addresses of that server, as this computer is told them.

    Raises:
        UnderstudyError: there is none.
    """
    name = named(backup)
    try:
        found = socket.getaddrinfo(name, None, socket.AF_INET, socket.SOCK_STREAM)
    except OSError as error:
        where = f"{backup.location}: {name}"
        todo = "Correct it; is there a network?"
        raise UnderstudyError(where=where, found=str(error), wanted="an address", todo=todo) from None
    return tuple(sorted({str(each[4][0]) for each in found}))
