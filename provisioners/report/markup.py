"""HTML elements as values. Text is escaped where it goes in, so that nothing that a machine says becomes markup."""

from __future__ import annotations

import html
import unicodedata

_REPLACED = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp", "Cn"})
_SPACES = str.maketrans("\n\r\t", "   ")
_VOID = frozenset({"meta", "link", "path", "rect", "circle", "ellipse", "line"})


class Markup(str):
    """Text that is markup already."""

    __slots__ = ()


def plain(text: str) -> str:
    r"""Return a text without characters that a page cannot show or that change the direction of what follows.

    >>> plain("db1\x00\u202egnp")
    'db1��gnp'
    """
    spaced = text.translate(_SPACES)
    return "".join("\ufffd" if unicodedata.category(character) in _REPLACED else character for character in spaced)


def escaped(text: str) -> Markup:
    """Return a text as markup.

    >>> escaped('<b a="1">')
    '&lt;b a=&quot;1&quot;&gt;'
    """
    return text if isinstance(text, Markup) else Markup(html.escape(plain(text), quote=True))


def element(tag: str, *children: str, **attributes: str | float | None) -> Markup:
    """Return an element; children and values are escaped, but for those that are markup.

    Args:
        tag: its name.
        children: what is in it.
        attributes: underlines stand for hyphens, and one at the end is dropped (``class_``); None leaves one out.

    >>> element("td", "1 < 2", class_="n", data_label='"')
    '<td class="n" data-label="&quot;">1 &lt; 2</td>'
    """
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escaped(f"{value:g}" if isinstance(value, float) else str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if tag in _VOID and not children:
        return Markup(f"<{tag}{given}>" if tag in ("meta", "link") else f"<{tag}{given}/>")
    return Markup(f"<{tag}{given}>{joined(*children)}</{tag}>")


def joined(*parts: str) -> Markup:
    """Return parts one after the other, escaped where they are no markup."""
    return Markup("".join(escaped(part) for part in parts))
