"""Read machines that exist, over SSH, and write the file that describes them.

Nothing on them is changed. Each HOST is [user@]host[:port]; its key must stand in your known_hosts, and yours in your
agent, ~/.ssh or ~/.ssh/config. What the machines do not tell stays open in the file, marked QUESTION.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from cli.arguments import add_directory, project_directory
from components.files import service_names
from components.site import read_services
from model import rules
from model.adoption import Adoption, Remark, adopt, file_text
from model.connection import way_by
from model.errors import UnderstudyError
from model.facts import HostFacts
from model.service import Service
from model.topology import Access
from provisioners.commands import command_line
from provisioners.facts.ask import SECONDS, read_host
from provisioners.hypervisor.host import write_whole
from provisioners.outcome import CommandFailed, Result
from provisioners.shell import Shell, connect

_PATIENCE_SECONDS = 15.0
_AT_ONCE = 16
_FILE = re.compile(r"Pulumi\.(.+)\.yaml")
_UNIT_DIRECTORY = "/etc/systemd/system/"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("hosts", nargs="+", metavar="HOST", help="[user@]host[:port] of a machine")
    parser.add_argument("--user", default="root", help="who logs in where HOST names nobody; default: %(default)s")
    parser.add_argument("--sudo", action="store_true", help="read through `sudo -n` what only root can read")
    parser.add_argument("--jump", default="", metavar="[USER@]HOST[:PORT]", help="the host to go through")
    parser.add_argument("--output", default="Pulumi.prod.yaml", metavar="FILE", help="default: %(default)s")
    parser.add_argument("--force", action="store_true", help="write over a file that is there")
    add_directory(parser)


def run(arguments: argparse.Namespace) -> int:
    """Read the machines, write the file, and say what is open."""
    directory = project_directory(arguments.cwd)
    stack, path = _stack(arguments.output), directory / arguments.output
    _refuse_existing(path, force=arguments.force)
    accesses = [_access(text, arguments) for text in dict.fromkeys(arguments.hosts)]
    services = read_services(directory)
    files = service_files(services)
    facts, errors = read_all(accesses, tuple(sorted({path for paths in files.values() for path in paths})))
    for error in errors:
        print(f"understudy adopt: {error}", file=sys.stderr)
    if errors:
        _show_read(facts)
        print(f"{path.name} was not written: {len(errors)} of {len(accesses)} could not be read.", file=sys.stderr)
        return 1
    units, known = unit_services(services), service_names(directory)
    adoption = adopt(facts, stack=stack, units=units, files=files, known_services=known)
    _refuse_existing(path, force=arguments.force)
    write_whole(path, file_text(adoption, command=_command(arguments)), mode=0o644)
    print("\n".join(summary(adoption, path.name, stack)))
    return 0


def _stack(output: str) -> str:
    match = _FILE.fullmatch(output)
    if match is None or not rules.STACK.fullmatch(match[1]):
        raise UnderstudyError(where="--output", found=output, wanted="Pulumi.STACK.yaml, such as Pulumi.prod.yaml")
    return match[1]


def _refuse_existing(path: Path, *, force: bool) -> None:
    if path.exists() and not force:
        todo = "Give another name with --output, or write over it with --force."
        raise UnderstudyError(where=str(path), found="a file that is there already", todo=todo)


def _access(text: str, arguments: argparse.Namespace) -> Access:
    match = re.fullmatch(r"(?:(?P<user>[^@]*)@)?(?P<host>[^@:]*)(?::(?P<port>[0-9]{1,5}))?", text)
    user = (match and match["user"]) or arguments.user
    port = int((match and match["port"]) or 22)
    wrong = UnderstudyError(
        where=text, found="no machine's address", wanted=f"[user@]host[:port]; {rules.HOST_ALLOWED}"
    )
    if match is None or not rules.HOST.fullmatch(match["host"]) or not rules.USER.fullmatch(user):
        raise wrong
    if not 0 < port < 65536:
        raise wrong
    if arguments.jump and not rules.JUMP.fullmatch(arguments.jump):
        raise UnderstudyError(where="--jump", found=arguments.jump, wanted=rules.JUMP_ALLOWED)
    return Access(host=match["host"], port=port, user=user, sudo=arguments.sudo and user != "root", jump=arguments.jump)


def read_all(accesses: Sequence[Access], paths: tuple[str, ...] = ()) -> tuple[list[HostFacts], list[UnderstudyError]]:
    """Read all machines at once, and return what they told and why others did not, both in the machines' order.

    Args:
        accesses: how they are reached.
        paths: which files are looked for.
    """
    facts, errors = [], []
    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        for answer in pool.map(lambda access: _read_or_error(access, paths), accesses):
            if isinstance(answer, HostFacts):
                facts.append(answer)
            else:
                errors.append(answer)
    return facts, errors


def _read_or_error(access: Access, paths: tuple[str, ...]) -> HostFacts | UnderstudyError:
    try:
        return _read(access, paths)
    except UnderstudyError as error:
        return error


def _read(access: Access, paths: tuple[str, ...]) -> HostFacts:
    # Commands run as who logs in: the questions themselves say which of them need sudo.
    connection = replace(way_by(access.host, access), sudo=False)
    print(f"{access.host}: reading ...", file=sys.stderr)
    with connect(connection, "", lambda _: None, _PATIENCE_SECONDS) as own, own.steady() as shell:
        facts = read_host(access, lambda argv: run_there(shell, argv), paths)
    print(f"{access.host}: read", file=sys.stderr)
    return facts


def run_there(shell: Shell, argv: tuple[str, ...]) -> Result:
    """Run a question's command, whatever its exit code; one that takes too long is left."""
    try:
        return shell.run(argv, check=False, timeout_seconds=SECONDS)
    except CommandFailed as error:
        return Result(
            argv=argv, stdout=b"", stderr=f"no answer within {SECONDS:.0f} s".encode(), code=error.result.code
        )


def unit_services(services: Mapping[str, Service]) -> dict[str, str]:
    """Return the site's services by their units; empty text for a unit that a service brings but does not run."""
    brought = (Path(file.path) for service in services.values() for file in service.files)
    units = {path.name: "" for path in brought if str(path).startswith(_UNIT_DIRECTORY)}
    return units | {unit.unit: service.name for service in services.values() for unit in service.units}


def service_files(services: Mapping[str, Service]) -> dict[str, tuple[str, ...]]:
    """Return the files of each of the site's services that runs no unit; stores bring the services of engines."""
    silent = [service for service in services.values() if not service.units and not service.engine]
    return {each.name: tuple(file.path for file in each.files if not file.absent) for each in silent}


def _command(arguments: argparse.Namespace) -> str:
    options = ["--user", arguments.user] if arguments.user != "root" else []
    options += ["--sudo"] if arguments.sudo else []
    options += ["--jump", arguments.jump] if arguments.jump else []
    options += ["--output", arguments.output] if arguments.output != "Pulumi.prod.yaml" else []
    return command_line(["understudy", "adopt", *arguments.hosts, *options])


def _show_read(facts: Sequence[HostFacts]) -> None:
    for host in facts:
        servers = ", ".join(f"{server.engine} {server.version}".strip() for server in host.servers if server.running)
        size = f"{host.vcpus or '?'} processors, {host.memory_mib or '?'} MiB"
        print("; ".join(text for text in (f"{host.access.host}: {host.hostname}", host.system, size, servers) if text))


def summary(adoption: Adoption, file: str, stack: str) -> list[str]:
    """Return what the user is told in the end: the machines, and what is open."""
    machines = adoption.config["machines"]
    lines = []
    if isinstance(machines, Mapping):
        width = max(len(name) for name in machines)
        for name, machine in machines.items():
            sizes = f"{machine['vcpus']} processors, {machine['memory']}"
            lines.append(f"{name:{width}}  {machine['address']}  {sizes}{_roles(adoption, name)}")
    lines.append(f"Written: {file}")
    lines += [f"Not in it: {remark.text}" for remark in adoption.remarks if not remark.path]
    return lines + _open_lines(adoption.questions(), file, stack)


def _roles(adoption: Adoption, name: str) -> str:
    roles = []
    for kind in ("services", "stores"):
        entries = adoption.config.get(kind, {})
        for key, entry in entries.items() if isinstance(entries, Mapping) else ():
            if isinstance(entry, Mapping):
                roles += [f"{key} ({entry['engine']} {entry['version']}), primary"] if entry["primary"] == name else []
                roles += [f"{key}, replica"] if name in entry.get("replicas", ()) else []
            elif name in entry:
                roles.append(key)
    return f"; {', '.join(roles)}" if roles else ""


def _open_lines(questions: Sequence[Remark], file: str, stack: str) -> list[str]:
    check = f"`understudy preflight -s {stack}`"
    if not questions:
        return [f"Nothing is open. Read it, and let {check} check it."]
    lines = [
        f"{len(questions)} open, each marked QUESTION in {file}; {check} refuses the file until they are answered:"
    ]
    return lines + [f"  {question.key}: {question.text}" for question in questions]
