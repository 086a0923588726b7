"""One question over HTTPS to a cloud that answers in JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any, TypeVar
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from model.errors import UnderstudyError

_PATIENCE_SECONDS = 30
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer that says something beside its JSON.

    Args:
        status: HTTP's code.
        headers: with names in small letters.
        told: its JSON; None where it has none.
    """

    status: int
    headers: Mapping[str, str]
    told: Any


def answer(url: str, headers: Mapping[str, str], told: bytes | None = None, method: str | None = None) -> Any:
    """Return an answer's JSON.

    Args:
        url: an address that is fixed, or a test's.
        headers: with a token, where one is needed.
        told: what is sent; None where something is only asked for.
        method: HTTP's; otherwise GET, or POST where something is sent.

    Raises:
        HTTPError: it is a refusal.
        UnderstudyError: there is no answer, or it is something else.
    """
    return _asked(url, headers, told, method, json.load)


def reply(url: str, headers: Mapping[str, str], told: bytes | None, method: str) -> Reply:
    """Return an answer with its headers; it may have no JSON. What is taken and raised is as above."""
    return _asked(url, headers, told, method, _reply)


def _reply(found: Any) -> Reply:
    text = found.read()
    headers = {name.lower(): value for name, value in found.headers.items()}
    return Reply(status=found.status, headers=headers, told=json.loads(text) if text else None)


def _asked(url: str, headers: Mapping[str, str], told: bytes | None, method: str | None, read: Callable[[Any], T]) -> T:
    try:
        request = Request(url, data=told, headers=dict(headers), method=method)  # noqa: S310  # see above
        with urlopen(request, timeout=_PATIENCE_SECONDS) as found:  # noqa: S310  # see above
            return read(found)
    except HTTPError:
        raise
    except (URLError, OSError, HTTPException, ValueError) as error:
        text = f"no answer: {type(error).__name__}: {error}"
        todo = "Is there a network, and a way through the proxy?"
        raise UnderstudyError(where=urlsplit(url).netloc, found=text, todo=todo) from None
