"""A MariaDB or MySQL server for the comparison: version, settings, databases with their collations and sizes."""

from __future__ import annotations

from model.mirror.reading import Reading
from provisioners.facts.fact import ROOT, Fact
from provisioners.facts.mariadb import query, rows_of
from provisioners.facts.portrait_postgresql import WITHIN

# A text that is no plain word or number may hold a secret, and leaves the server as a digest only.
_SETTINGS = """
SELECT LOWER(variable_name), IF(variable_value REGEXP '^[A-Za-z0-9_.,:%+ -]{0,60}$' AND LOWER(variable_name) NOT REGEXP
'auth|pass|secret|key', variable_value, ''), SHA2(variable_value, 256) FROM SCHEMA.global_variables
WHERE LOWER(variable_name) NOT REGEXP '^(gtid_|timestamp|rand_seed|identity|last_|pseudo_|insert_id|error_count)'
"""
# Source: https://mariadb.com/kb/en/information-schema-global_variables-and-session_variables-tables/; MySQL since 5.7
# has the table in performance_schema.
SETTINGS = _SETTINGS.replace("SCHEMA", "information_schema")
NEWER_SETTINGS = _SETTINGS.replace("SCHEMA", "performance_schema")
DATABASES = """
SELECT schema_name, default_character_set_name, default_collation_name,
COALESCE((SELECT SUM(data_length + index_length) FROM information_schema.tables WHERE table_schema = schema_name), 0)
FROM information_schema.schemata
WHERE schema_name NOT IN ('information_schema', 'performance_schema', 'mysql', 'sys')
"""


def parse_settings(output: str) -> tuple[Reading, ...]:
    """Return a server's settings.

    Raises:
        ValueError: the output is not such an answer.
    """
    return tuple(
        Reading(area="database settings", key=name, value=value, digest=digest)
        for name, value, digest in rows_of(output, 3)
    )


def parse_databases(output: str) -> tuple[Reading, ...]:
    """Return the databases, each with its collation and its size.

    Raises:
        ValueError: the output is not such an answer.
    """
    found = []
    for name, characters, collation, size in rows_of(output, 4):
        found.append(Reading(area="databases", key=f"database {name}", value=f"{characters} {collation}"))
        amount = int(float(size))
        found.append(
            Reading(
                area="databases",
                key=f"size of {name}",
                value=f"{amount // 1024} kB",
                amount=amount,
                within=WITHIN,
            )
        )
    return tuple(found)


def settings(socket: str = "", flavour: str = "") -> Fact[tuple[Reading, ...]]:
    """Return the question for all settings of a server; ``flavour`` is ``mysql`` for Oracle's."""
    statement = NEWER_SETTINGS if flavour == "mysql" else SETTINGS
    return Fact(name="database settings", argv=query(statement, socket), parse=parse_settings, user=ROOT)


def databases(socket: str = "") -> Fact[tuple[Reading, ...]]:
    """Return the question for the databases."""
    return Fact(name="databases", argv=query(DATABASES, socket), parse=parse_databases, user=ROOT)
