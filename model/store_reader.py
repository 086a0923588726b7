"""Reads the stores of a topology: engine, version, who holds it, how old it is, and where its backups are."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from model import rules
from model.readers import (
    MISSING,
    Place,
    Section,
    has_key,
    meant,
    one_of,
    read_choice,
    read_keys,
    read_list,
    read_mapping,
    read_name,
    read_text,
)
from model.rules import ENGINES, Engine
from model.topology import Backup, Heartbeat, Machine, Store

_REQUIRED = ("engine", "database", "primary")
_OPTIONAL = ("version", "owner", "replicas", "expected_tables", "heartbeat", "backup")


def read_stores(place: Place, value: object, machines: Collection[str]) -> tuple[Store, ...]:
    """Return the stores that could be read.

    Args:
        place: where they are described.
        value: what stands there.
        machines: names of the machines.
    """
    stores = [_read_store(place / name, name, entry, machines) for name, entry in read_mapping(place, value).items()]
    found = tuple(sorted((store for store in stores if store), key=lambda store: store.name))
    _check_neighbours(place, found)
    return found


def _check_neighbours(place: Place, stores: Sequence[Store]) -> None:
    """One machine holds one store of an engine: a second would want the same port and directory."""
    for index, store in enumerate(stores):
        for other in stores[:index]:
            shared = {store.primary, *store.replicas} & {other.primary, *other.replicas}
            if shared and store.engine == other.engine:
                found = f"{store.engine} on {', '.join(sorted(shared))}"
                (place / store.name).note(
                    found,
                    f"machines without {store.engine}: {other.name} is there already",
                )


def _read_store(place: Place, name: object, value: object, machines: Collection[str]) -> Store | None:
    known = read_name(place, name, "store")
    section = read_keys(place, value, required=_REQUIRED, optional=_OPTIONAL)
    kind = section.read("engine", read_choice, ENGINES)
    engine = ENGINES.get(kind or "")
    version = section.read("version", _read_version, engine)
    database = section.read("database", _read_database, kind)
    owner = section.read("owner", _read_owner, kind)
    primary = section.read("primary", read_choice, machines)
    replicas = section.read("replicas", _read_replicas, machines, section.values.get("primary"), engine) or ()
    tables = section.read("expected_tables", _read_tables) or ()
    heartbeat = section.read("heartbeat", _read_heartbeat)
    backup = section.read("backup", _read_backup, engine)
    if engine:
        _check_kind(section, kind == "files")
    if known is None or kind is None or database is None or primary is None:
        return None
    return Store(
        name=known,
        engine=kind,
        version=version or "",
        database=database,
        owner=owner or "",
        primary=primary,
        replicas=replicas,
        expected_tables=tables,
        heartbeat=heartbeat,
        backup=backup,
    )


def _check_kind(section: Section, is_files: bool) -> None:
    """Files have no version and no tables; a database has both a version and an owner."""
    for key in ("version", "owner"):
        if not is_files and key not in section.values:
            (section.place / key).fault(MISSING, "a value: a database needs this key")
    for key in ("version", "expected_tables", "heartbeat"):
        if is_files and key in section.values:
            (section.place / key).fault(section.values[key], "nothing: a store of files has none")


def _read_version(place: Place, value: object, engine: Engine | None) -> str | None:
    if engine is None or not engine.versions:
        return None
    if isinstance(value, int) and not isinstance(value, bool) and str(value) in engine.versions:
        return str(value)
    major = value.partition(".")[0] if isinstance(value, str) else ""
    hint = f'; did you mean "{major}"?' if major in engine.versions and value != major else ""
    allowed = f"a major version, one of {', '.join(engine.versions)}{hint}"
    versions = engine.versions
    return read_text(place, value, lambda text: text in versions, allowed)


def _read_database(place: Place, value: object, kind: str | None) -> str | None:
    if kind == "files":
        return read_text(place, value, rules.DIRECTORY, rules.DIRECTORY_ALLOWED)
    return read_text(place, value, rules.IDENTIFIER, rules.IDENTIFIER_ALLOWED)


def _read_owner(place: Place, value: object, kind: str | None) -> str | None:
    if kind == "files":
        return read_text(place, value, rules.USER, rules.USER_ALLOWED)
    return read_text(place, value, rules.IDENTIFIER, rules.IDENTIFIER_ALLOWED)


def _read_replicas(
    place: Place,
    value: object,
    machines: Collection[str],
    primary: object,
    engine: Engine | None,
) -> tuple[str, ...]:
    if engine and not engine.replicates and value != []:
        replicating = [name for name, other in ENGINES.items() if other.replicates]
        place.fault(value, f"no replicas: they are built of {', '.join(replicating)} only")
    replicas = read_list(place, value, lambda at, item: read_choice(at, item, machines))
    for name in replicas:
        if name == primary:
            place.fault(name, "another machine than the primary")
    return replicas


def _read_tables(place: Place, value: object) -> tuple[str, ...]:
    return read_list(
        place,
        value,
        lambda at, item: read_text(at, item, rules.TABLE, rules.TABLE_ALLOWED),
    )


def _read_heartbeat(place: Place, value: object) -> Heartbeat | None:
    section = read_keys(place, value, required=("table", "column"))
    table = section.read("table", read_text, rules.TABLE, rules.TABLE_ALLOWED)
    column = section.read("column", read_text, rules.IDENTIFIER, rules.IDENTIFIER_ALLOWED)
    return Heartbeat(table=table, column=column) if table is not None and column is not None else None


def _read_backup(place: Place, value: object, engine: Engine | None) -> Backup | None:
    optional = ("path", "bucket", "region", "endpoint", "stanza")
    section = read_keys(place, value, required=("kind",), optional=optional)
    known = engine.backups if engine else sorted({kind for each in ENGINES.values() for kind in each.backups})
    kind = section.read("kind", _read_kind, known)
    path = section.read("path", read_text, rules.PATH, rules.PATH_ALLOWED)
    bucket = section.read("bucket", read_text, rules.BUCKET, rules.BUCKET_ALLOWED)
    region = section.read("region", read_text, rules.REGION, rules.REGION_ALLOWED)
    endpoint = section.read("endpoint", read_text, rules.is_url, rules.URL_ALLOWED)
    stanza = section.read("stanza", read_text, rules.STANZA, rules.STANZA_ALLOWED)
    if section.values:
        _check_location(section)
    if kind is not None:
        _check_stanza(section, kind)
    if kind is None or (path is None and bucket is None):
        return None
    return Backup(
        kind=kind,
        location=path or bucket or "",
        stanza=stanza or "",
        endpoint=endpoint or "",
        region=region or "",
    )


def _read_kind(place: Place, value: object, known: Collection[str]) -> str | None:
    allowed = f"a kind of backup of this engine, {one_of(known)}{meant(value, known)}"
    return read_text(place, value, lambda text: text in known, allowed)


def _check_location(section: Section) -> None:
    keys = section.values.keys()
    if {"path", "bucket"} <= keys:
        section.place.note("both path and bucket", "one of them: where the backups are")
    elif not {"path", "bucket"} & keys:
        section.place.note("neither path nor bucket", "one of them: where the backups are")
    if "bucket" in keys and "region" not in keys:
        (section.place / "region").fault(MISSING, rules.REGION_ALLOWED)
    for key in ("region", "endpoint"):
        if key in keys and "bucket" not in keys:
            (section.place / key).fault(section.values[key], "nothing: only a bucket has one")


def _check_stanza(section: Section, kind: str) -> None:
    here = section.place / "stanza"
    if kind == "pgbackrest" and "stanza" not in section.values:
        here.fault(MISSING, rules.STANZA_ALLOWED)
    if kind != "pgbackrest" and "stanza" in section.values:
        here.fault(section.values["stanza"], "nothing: only pgbackrest has one")


def check_data_disks(section: Section, machines: Collection[Machine], stores: Collection[Store]) -> None:
    """Note each machine that holds a store and has no disk to hold it."""
    for machine in machines:
        held = [store.name for store in stores if machine.name in (store.primary, *store.replicas)]
        if held and not has_key(section.values["machines"], machine.name, "data_disk"):
            wanted = f"a size with its unit, such as 2GiB: {', '.join(held)} lies on it"
            (section.place / "machines" / machine.name / "data_disk").fault(MISSING, wanted)
