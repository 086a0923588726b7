"""Shows a change that machines have copies of: what was there before it, and the command that takes it back."""

from __future__ import annotations

import argparse

from cli.arguments import add_stack, project_directory, short_stack
from cli.change._machines import PATIENCE_SECONDS, changes_of, chosen, deployment_of, named
from model.way_in import way_in
from provisioners.commands import command_line
from provisioners.shell import connect


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `understudy change show`."""
    add_stack(parser)
    parser.add_argument("identifier", metavar="ID", help="the id of a change, or of a document, or its first digits")


def run(arguments: argparse.Namespace) -> int:
    """Show it."""
    directory, stack = project_directory(arguments.cwd), short_stack(arguments.stack)
    deployment = deployment_of(directory, stack)
    for there in chosen(changes_of(deployment, stack), named(directory, arguments.identifier)):
        connection, key = way_in(deployment, stack, there.machine)
        with connect(connection, key, lambda _: None, PATIENCE_SECONDS) as shell:
            manifest = shell.run(("cat", "--", f"{there.change.directory}/manifest"), check=False).text
        print(f"{there.change.identifier}: {there.change.service} on {there.machine}, {there.change.state}")
        print(f"  opened {there.change.at:%Y-%m-%d %H:%M:%S} UTC; what was there is in {there.change.directory}")
        print("  path, what was there, mode, owner, digest, target of a link:")
        print("\n".join(f"    {line}" for line in manifest.splitlines()))
        print(f"  by hand, on {there.machine}: {command_line(('bash', f'{there.change.directory}/back-out.sh'))}")
        print(f"  from here: understudy change back-out {there.change.identifier} -s {stack}")
    return 0
