"""The tables of figures as Markdown; pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

from bench.figures import Figure


def caption(when: date, cores: int, accelerator: str) -> str:
    """Return when and on what something was measured; without an accelerator where no machine ran.

    >>> caption(date(2026, 11, 25), 2, "tcg")
    'Measured on 2026-11-25, on 2 cores, machines with TCG:'
    """
    machines = f", machines with {accelerator.upper()}" if accelerator else ""
    return f"Measured on {when.isoformat()}, on {cores} cores{machines}:"


def table(figures: Iterable[Figure]) -> str:
    """Return the figures as a table, with what was wanted beside what was measured."""
    rows = ["| what | seconds | against | seconds | ratio | goal |", "|---|---:|---|---:|---:|---:|"]
    rows += [
        f"| {each.name} | {each.ours:.1f} | {each.against or '–'} | {_number(each.by_hand, 1)} "
        f"| {_number(each.ratio, 2)} | {_goal(each)} |"
        for each in figures
    ]
    return "\n".join(rows)


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _goal(figure: Figure) -> str:
    if figure.goal_beyond is None:
        return _number(figure.goal, 1)
    return f"{figure.goal_beyond:.1f} s beyond; it is {figure.beyond or 0:.1f}"


def replaced(readme: str, part: str, text: str) -> str:
    """Return the README with this text between the marks of one part; all else stays.

    Raises:
        ValueError: the README has no such marks.

    >>> replaced("a\\n<!-- bench:boots -->\\nold\\n<!-- bench:boots end -->\\nb", "boots", "new")
    'a\\n<!-- bench:boots -->\\nnew\\n<!-- bench:boots end -->\\nb'
    """
    begin, end = f"<!-- bench:{part} -->", f"<!-- bench:{part} end -->"
    before, begun, rest = readme.partition(begin)
    _, ended, after = rest.partition(end)
    if not begun or not ended:
        raise ValueError(f"README.md has no {begin} … {end}")
    return f"{before}{begin}\n{text}\n{end}{after}"
