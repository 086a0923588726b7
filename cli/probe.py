"""Finds out what the hosts of Capacity.yaml have, side by side, and changes nothing on them.

Without that file, this computer is probed. What could not be probed is out, with the reason and what to do about it;
then the exit code is 1. A host that may be used only at night is left alone by day.
"""

from __future__ import annotations

import argparse
import json

from cli.arguments import add_directory, project_directory
from cli.capacity import chosen, load_capacity, probe
from model.probe_report import in_lines, in_record


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `understudy probe`."""
    parser.add_argument("hosts", nargs="*", metavar="NAME", help="hosts of Capacity.yaml; default: all")
    parser.add_argument("--json", action="store_true", help="print what was found as a record, sizes in MiB")
    add_directory(parser)


def run(arguments: argparse.Namespace) -> int:
    """Probe, and show what was found."""
    directory = project_directory(arguments.cwd)
    probed = probe(directory, chosen(load_capacity(directory), arguments.hosts))
    if arguments.json:
        print(json.dumps(in_record(probed), indent=2, ensure_ascii=False))
    else:
        print("\n".join(in_lines(probed)))
    return 0 if all(each.usable for each in probed) else 1
