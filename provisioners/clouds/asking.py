"""One question over HTTPS to a cloud that answers in JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from model.errors import UnderstudyError

_PATIENCE_SECONDS = 30


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
    try:
        request = Request(url, data=told, headers=dict(headers), method=method)  # noqa: S310  # see above
        with urlopen(request, timeout=_PATIENCE_SECONDS) as found:  # noqa: S310  # see above
            return json.load(found)
    except HTTPError:
        raise
    except (URLError, OSError, HTTPException, ValueError) as error:
        text = f"no answer: {type(error).__name__}: {error}"
        todo = "Is there a network, and a way through the proxy?"
        raise UnderstudyError(where=urlsplit(url).netloc, found=text, todo=todo) from None
