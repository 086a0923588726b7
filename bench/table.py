"""The table of figures as Markdown; pure."""

from __future__ import annotations

from collections.abc import Iterable

from bench.figures import Figure

_BEGIN, _END = "<!-- bench:begin -->", "<!-- bench:end -->"


def table(figures: Iterable[Figure]) -> str:
    """Return the figures as a table, with what was wanted beside what was measured."""
    rows = ["| what | seconds | against | seconds | ratio | goal |", "|---|---:|---|---:|---:|---:|"]
    rows += [
        f"| {each.name} | {each.ours:.1f} | {each.against or '–'} | {_number(each.by_hand, 1)} "
        f"| {_number(each.ratio, 2)} | {_number(each.goal, 1)} |"
        for each in figures
    ]
    return "\n".join(rows)


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def replaced(readme: str, text: str) -> str:
    """Return the README with this table between its marks.

    >>> replaced("a\\n<!-- bench:begin -->\\nold\\n<!-- bench:end -->\\nb", "new")
    'a\\n<!-- bench:begin -->\\nnew\\n<!-- bench:end -->\\nb'
    """
    before, _, rest = readme.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return f"{before}{_BEGIN}\n{text}\n{_END}{after}"
