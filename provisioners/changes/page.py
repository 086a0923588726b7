"""The change document as one page: nothing from outside, good on a phone and on paper. Pure."""

from __future__ import annotations

import html
import re

from model.change import Step
from model.change.document import BEFORE, HOW_BACK, Document, Part, consists, duration, elsewhere, how, prints, where
from provisioners.report.markup import Markup, element, escaped, joined
from provisioners.report.page import framed

_WORDED = re.compile(r"((?<!`)(?P<fence>`+)(?!`).+?(?<!`)(?P=fence)(?!`)|\*[A-Z][^*`]*\*)")
_MORE = """
pre { margin: .5rem 0; padding: .75rem 1rem; background: var(--card); border: 1px solid var(--rule);
  border-radius: 8px; font: .875rem/1.45 var(--mono); white-space: pre-wrap; overflow-wrap: anywhere; }
ol, .facts { padding-left: 1.5rem; }
li { margin: .25rem 0 1rem; }
.added { color: var(--good); }
.gone { color: var(--bad); }
.gate { padding: .75rem 1rem; border: 1px solid var(--bad); border-radius: 8px; background: var(--bad-soft);
  color: var(--bad); white-space: pre-line; }
p code, li > code { font-family: var(--mono); overflow-wrap: anywhere; }
@media print { pre { break-inside: avoid-page; } }
"""


def page(document: Document) -> str:
    """Return the page."""
    header = element(
        "header",
        element("p", "Change", class_="kicker"),
        element("h1", document.title),
        element("p", f"{document.identifier} of {document.stack}, written {document.written}", class_="muted"),
    )
    main = element(
        "main",
        *([_listed(lines)] if (lines := consists(document)) else []),
        *([element("p", *worded(document.gate), class_="gate")] if document.gate else []),
        _chapter("Why", element("p", *worded(document.why))),
        _chapter("Risk", _listed(document.risk)),
        _chapter("When", element("p", *worded(document.when))),
        _chapter("What users will notice", _listed(document.notice or ("Nothing.",))),
        _chapter("Whom it needs", _listed(document.needs)),
        *([_chapter("Secrets to fill in", _secrets(document))] if document.secrets else []),
        _chapter(
            "Before you begin",
            element("p", *worded(BEFORE)),
            *(_before(part) for part in document.parts if part.before),
        ),
        _chapter("The change", element("p", *worded(how(document))), *(_part(part) for part in document.parts)),
        *([_chapter("What Understudy itself does; nobody types it", _listed(document.own))] if document.own else []),
        _chapter(
            "The way back", element("p", *worded(HOW_BACK)), *(_way_back(part) for part in reversed(document.parts))
        ),
    )
    return framed(f"{document.title}: change {document.identifier}", joined(header, main), more_style=_MORE)


def worded(text: str) -> tuple[Markup, ...]:
    """Return a text with what stands between backticks, or asterisks, as code, or emphasis.

    >>> "".join(worded("prints `a < b`, see *The way back*"))
    'prints <code>a &lt; b</code>, see <em>The way back</em>'
    >>> "".join(worded("``a`b`` and `` `c ``"))
    '<code>a`b</code> and <code>`c</code>'
    """
    pieces: list[Markup] = []
    at = 0
    for found in _WORDED.finditer(text):
        fence = found["fence"] or "*"
        inner = found[0][len(fence) : -len(fence)]
        inner = inner[1:-1] if inner.startswith(" `") or inner.endswith("` ") else inner
        pieces += [_lines(text[at : found.start()]), element("em" if fence == "*" else "code", inner)]
        at = found.end()
    return (*pieces, _lines(text[at:]))


def _lines(text: str) -> Markup:
    return Markup("\n".join(escaped(line) for line in text.split("\n")))


def _chapter(title: str, *children: Markup) -> Markup:
    return element("section", element("h2", title), *children)


def _listed(lines: tuple[str, ...]) -> Markup:
    return element("ul", *(element("li", *worded(line)) for line in lines), class_="facts")


def _secrets(document: Document) -> Markup:
    return _listed(tuple(f"`{name}`: {place}" for name, place in document.secrets))


def _code(text: str) -> Markup:
    """Return commands word for word: a page's own way of joining lines and spaces would change them."""
    return element("pre", element("code", Markup(html.escape(text, quote=False))))


def _steps(part: Part, steps: tuple[Step, ...]) -> Markup:
    return element("ol", *(_step(part, step) for step in steps))


def _step(part: Part, step: Step) -> Markup:
    if step.place == "person":
        return element("li", element("strong", step.name), element("p", *worded(step.command)))
    told = element("p", *worded(prints(step)), class_="muted")
    if other := elsewhere(part, step):
        return element("li", element("strong", step.name), f" {other}", _code(step.command), told)
    return element("li", element("strong", step.name), _code(step.command), told)


def _part(part: Part) -> Markup:
    return element(
        "section",
        element("h3", part.name),
        element("p", *worded(f"{part.effect} Typed {where(part)}.")),
        *([_differences(part.differences)] if part.differences else []),
        _steps(part, part.steps),
        *(element("p", *worded(note)) for note in part.notes),
    )


def _before(part: Part) -> Markup:
    typed = element("p", *worded(f"Typed {where(part)}."), class_="muted")
    return element("section", element("h3", part.name), typed, _steps(part, part.before))


def _differences(lines: tuple[str, ...]) -> Markup:
    kinds = {"+": "added", "-": "gone"}
    marked = (element("span", Markup(html.escape(line + "\n")), class_=kinds.get(line[:1])) for line in lines)
    return element("pre", element("code", *marked))


def _way_back(part: Part) -> Markup:
    if not part.undo:
        return element("section", element("h3", part.name), element("p", "There is nothing to take back."))
    took = element("p", *worded(f"Takes {duration(part.undo_seconds)}. Typed {where(part)}."))
    return element("section", element("h3", part.name), took, _steps(part, part.undo))
