"""Where a store's backups are, as far as its machines tell."""

from __future__ import annotations

import re
from collections.abc import Sequence

from model.adoption.network import Host
from model.adoption.remarks import ASKED, Path, Remarks
from model.facts import Repository, Server


def backup(path: Path, server: Server, host: Host, hosts: Sequence[Host], remarks: Remarks) -> dict[str, object]:
    """Return a store's backup as the configuration has it.

    Args:
        path: the store's keys.
        server: the primary, or a replica where the primary is not known.
        host: its machine.
        hosts: all machines: one of them may keep the backups of the others.
        remarks: takes questions and notes.
    """
    here = (*path, "backup")
    if server.engine == "mariadb":
        remarks.ask((*here, "path"), "Where is a file that mysqldump or mariadb-dump wrote, as this computer sees it?")
        return {"kind": "mysqldump", "path": ASKED}
    repository, stanza = _repository(server, host, hosts)
    if repository is None:
        return _unknown(here, stanza, remarks)
    if repository.kind == "s3":
        return _bucket(here, repository, remarks)
    keeper = f"{repository.host or host.name}:{repository.location}"
    if repository.kind == "path":
        text = f"pgBackRest keeps the backups in {keeper}. Where does this computer find them (a directory)?"
    else:
        text = f"pgBackRest keeps the backups in {repository.kind}. Where does this computer find a copy (a directory)?"
    remarks.ask((*here, "path"), text)
    return {"kind": "pgbackrest", "path": ASKED, "stanza": repository.stanza}


def _unknown(here: Path, stanza: str, remarks: Remarks) -> dict[str, object]:
    if stanza:
        remarks.ask((*here, "path"), "Its WAL goes to pgBackRest. Where does this computer find the repository?")
        return {"kind": "pgbackrest", "path": ASKED, "stanza": stanza}
    remarks.ask((*here, "kind"), "No pgBackRest was found: pgbackrest (then `stanza` is needed too) or pg_dump?")
    remarks.ask((*here, "path"), "Where does this computer find the backups?")
    return {"kind": ASKED, "path": ASKED}


def _repository(server: Server, host: Host, hosts: Sequence[Host]) -> tuple[Repository | None, str]:
    """Return the repository and the name of the stanza, each where it is known."""
    own = host.facts.repositories
    named = [item for item in own if item.stanza == server.stanza]
    held = [item for item in own if server.data_directory and server.data_directory in item.data_directories]
    for choice in (named, held, own):
        if len(choice) == 1:
            return choice[0], choice[0].stanza
    elsewhere = [
        (other, item)
        for other in hosts
        if other is not host
        for item in other.facts.repositories
        if item.stanza == server.stanza and not item.host
    ]
    if len(elsewhere) == 1:
        other, item = elsewhere[0]
        where = Repository(stanza=item.stanza, kind=item.kind, location=item.location, host=other.name)
        return where, item.stanza
    return None, server.stanza


def _bucket(here: Path, repository: Repository, remarks: Remarks) -> dict[str, object]:
    values: dict[str, object] = {"kind": "pgbackrest", "bucket": repository.location}
    values["region"] = repository.region or remarks.ask((*here, "region"), "In which region is the bucket?")
    # Source: AWS General Reference, "Amazon S3 endpoints": s3.region.amazonaws.com and its variants.
    if repository.endpoint and not re.search(r"(^|\.)amazonaws\.com(\.cn)?(:\d+)?$", repository.endpoint):
        plain = repository.endpoint
        values["endpoint"] = plain if re.match(r"https?://", plain) else f"https://{plain}"
    return {**values, "stanza": repository.stanza}
