"""The command `understudy`: one subcommand for each module here that has `add_arguments` and `run`."""

from __future__ import annotations

import argparse
import ast
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from model.errors import UnderstudyError

HERE = Path(__file__).parent


def _summary(source: Path) -> str | None:
    """Return the first line of a subcommand's text, None for another module; nothing is imported."""
    tree = ast.parse(source.read_text(encoding="utf-8"))
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    return (ast.get_docstring(tree) or "").partition("\n")[0] if {"add_arguments", "run"} <= functions else None


def commands() -> dict[str, str]:
    """Return the subcommands, each with one line about it."""
    summaries = {source.stem.replace("_", "-"): _summary(source) for source in sorted(HERE.glob("[a-z]*.py"))}
    return {name: summary for name, summary in summaries.items() if summary is not None}


def _overview() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="understudy", description="A stage that mirrors prod.", epilog="Each command explains itself with --help."
    )
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, summary in commands().items():
        subparsers.add_parser(name, help=summary.replace("%", "%%"), add_help=False)
    return parser


def _module_name(arguments: Sequence[str]) -> str:
    """Return the module of the subcommand, or nothing. Only that one is looked at: the usual call must not wait."""
    name = arguments[0].replace("-", "_") if arguments else ""
    source = HERE / f"{name}.py"
    return name if name.isidentifier() and source.is_file() and _summary(source) is not None else ""


def main(arguments: Sequence[str]) -> int:
    """Run one subcommand and return its exit code: 0 well, 1 a fault that is explained, 2 a wrong call."""
    name = _module_name(arguments)
    if not name:
        _overview().parse_args(arguments[:1])
        return 2
    module = importlib.import_module(f"cli.{name}")
    parser = argparse.ArgumentParser(
        prog=f"understudy {arguments[0]}",
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.add_arguments(parser)
    try:
        return int(module.run(parser.parse_args(arguments[1:])))
    except UnderstudyError as error:
        print(f"understudy {arguments[0]}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
