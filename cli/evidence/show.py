"""Shows a stack's records, one line each, or one of them whole."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from typing import Any

from cli.arguments import add_stack, project_directory, short_stack
from cli.evidence._logs import read_with_git
from cli.evidence.verify import in_words
from model.errors import UnderstudyError
from model.evidence.chain import Log, Record, file_name, line


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `understudy evidence show`."""
    add_stack(parser)
    parser.add_argument("number", nargs="?", type=int, default=0, help="the record to show whole; default: all, short")


def run(arguments: argparse.Namespace) -> int:
    """Show them, and return 1 where one is broken: then only those before it are shown."""
    log = read_with_git(project_directory(arguments.cwd), short_stack(arguments.stack))
    if arguments.number:
        print(json.dumps(json.loads(line(_record(log, arguments.number))), indent=2))
    else:
        for record in log.records:
            print(f"{record.n:>4}  {record.at}  {record.kind:<10}  {record.who}  {summary(record.body)}")
    if log.broken or not log.records:
        print(in_words(log))
    return 1 if log.broken else 0


def _record(log: Log, number: int) -> Record:
    if 1 <= number <= len(log.records):
        return log.records[number - 1]
    found = f"no record {number} that holds"
    raise UnderstudyError(where=file_name(log.stack), found=found, wanted=f"one of 1 to {len(log.records)}")


def summary(body: Mapping[str, Any]) -> str:
    """Return the gist of a record's body.

    >>> summary({"changes": {"ab" * 32: {"service": "web"}}, "green": True})
    'green: web abababababab'
    >>> summary({"change": "ab" * 32, "why": "the site is down"})
    'abababababab: the site is down'
    """
    changes, services = body.get("changes"), body.get("services")
    words = [f"{body['change']:.12}"] if isinstance(body.get("change"), str) else []
    if isinstance(changes, Mapping):
        words += [f"{each.get('service')} {digest:.12}{_because(each)}" for digest, each in changes.items()]
    if isinstance(services, Mapping):
        words += [f"{name} {digest:.12}" for name, digest in services.items()]
    colour = {True: "green: ", False: "RED: "}.get(body.get("green", ""), "")
    why = f": {body['why']}" if body.get("why") else ""
    return f"{colour}{', '.join(words)}{why}"


def _because(change: Mapping[str, Any]) -> str:
    return next((f" by {kind} {change[kind]}" for kind in ("emergency", "rehearsal") if kind in change), "")
