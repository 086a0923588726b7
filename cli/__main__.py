"""The command `understudy`: one subcommand for each module here that has `add_arguments` and `run`.

A folder is a subcommand with verbs of its own, its modules: `understudy change word` is `cli/change/word.py`.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from model.errors import UnderstudyError

HERE = Path(__file__).parent


def _summary(source: Path) -> str | None:
    """Return the first line of a subcommand's text, None for another module; nothing is imported."""
    import ast  # for an overview alone: a command that is called is imported instead

    group = source / "__init__.py"
    tree = ast.parse((group if group.is_file() else source).read_text(encoding="utf-8"))
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    is_command = group.is_file() or {"add_arguments", "run"} <= functions
    return (ast.get_docstring(tree) or "").partition("\n")[0] if is_command else None


def commands(folder: Path = HERE) -> dict[str, str]:
    """Return the subcommands, or the verbs of one of them, each with one line about it."""
    sources = sorted([*folder.glob("[a-z]*.py"), *(path.parent for path in folder.glob("[a-z]*/__init__.py"))])
    summaries = {source.stem.replace("_", "-"): _summary(source) for source in sources}
    return {name: summary for name, summary in summaries.items() if summary is not None}


def _overview(folder: Path, program: str) -> argparse.ArgumentParser:
    about = "A stage that mirrors prod." if folder == HERE else _summary(folder)
    parser = argparse.ArgumentParser(
        prog=program, description=about, epilog="Each command explains itself with --help."
    )
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, summary in commands(folder).items():
        subparsers.add_parser(name, help=summary.replace("%", "%%"), add_help=False)
    return parser


def _source(folder: Path, arguments: Sequence[str]) -> Path | None:
    """Return the module or folder of that name. Only that one is looked at: the usual call must not wait."""
    name = arguments[0].replace("-", "_") if arguments else ""
    if not name.isidentifier() or name.startswith("_"):
        return None
    found = folder / name
    if (found / "__init__.py").is_file():
        return found
    found = folder / f"{name}.py"
    return found if found.is_file() else None


def main(arguments: Sequence[str], folder: Path = HERE, module: str = "cli", program: str = "understudy") -> int:
    """Run one subcommand and return its exit code: 0 well, 1 a fault that is explained, 2 a wrong call."""
    source = _source(folder, arguments)
    if source is not None and source.is_dir():
        return main(arguments[1:], source, f"{module}.{source.stem}", f"{program} {arguments[0]}")
    found = importlib.import_module(f"{module}.{source.stem}") if source else None
    if found is None or not hasattr(found, "add_arguments"):
        _overview(folder, program).parse_args(arguments[:1])
        return 2
    return _run(found, f"{program} {arguments[0]}", arguments[1:])


def _run(module: ModuleType, program: str, arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog=program, description=module.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    module.add_arguments(parser)
    try:
        return int(module.run(parser.parse_args(arguments)))
    except UnderstudyError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
