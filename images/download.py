"""Download a file that may be large: with progress, and resumed where it was cut off."""

from __future__ import annotations

import hashlib
import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from model.errors import UnderstudyError

Say = Callable[[str], None]
_PIECE = 1 << 20
_SILENCE_SECONDS = 60.0
_TRIES = 4
"""So often in a row nothing may come."""
_PAUSE_SECONDS = 2.0
_SHOW_SECONDS = 2.0


def download(url: str, directory: Path, most_bytes: int, say: Say) -> Path:
    """Download a file and return its path; what an earlier call left of it is used where it is still the same file.

    Args:
        url: its address, http or https.
        directory: where it is put, under a name of its own.
        most_bytes: how large it may be.
        say: shows progress.

    Raises:
        UnderstudyError: it cannot be had, or is too large. What has come so far stays, for the next call.
    """
    part = directory / f".download-{hashlib.sha256(url.encode()).hexdigest()[:16]}.part"
    failures = 0
    while True:
        before = _size(part)
        try:
            if _receive(url, part, most_bytes, say):
                return part
            reason = "the connection ended early"
        except urllib.error.HTTPError as error:
            if error.code < 500:
                raise _failed(url, f"the server answers {error.code} {error.reason}") from error
            reason = f"the server answers {error.code} {error.reason}"
        except (OSError, http.client.HTTPException) as error:
            reason = str(getattr(error, "reason", error)) or type(error).__name__
        failures = 0 if _size(part) > before else failures + 1
        if failures == _TRIES:
            raise _failed(url, f"{reason}, {_TRIES} times; {_size(part) >> 20} MiB have come")
        say(f"image: cut off after {_size(part) >> 20} MiB ({reason}); going on")
        time.sleep(_PAUSE_SECONDS * failures)


def forget(part: Path) -> None:
    """Remove what was downloaded."""
    part.unlink(missing_ok=True)
    _note(part).unlink(missing_ok=True)


def _receive(url: str, part: Path, most_bytes: int, say: Say) -> bool:
    """Receive as much as comes, and return whether that is all."""
    mark, have = _mark(part), _size(part)
    going_on = {"Range": f"bytes={have}-", "If-Range": mark} if mark and have else {}
    request = urllib.request.Request(url, headers={"Accept-Encoding": "identity", **going_on})  # noqa: S310  # see rules
    try:
        answer = urllib.request.urlopen(request, timeout=_SILENCE_SECONDS)  # noqa: S310  # http or https: model.rules
    except urllib.error.HTTPError as error:
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and going_on:
            if error.headers.get("Content-Range") == f"bytes */{have}":
                return True
            forget(part)
            return False
        raise
    with answer:
        if not answer.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            forget(part)
            have = 0
            _note(part).write_text(json.dumps(_validator(answer.headers)), encoding="utf-8")
        length = answer.headers.get("Content-Length", "")
        total = have + int(length) if length.isdecimal() else 0
        _refuse_large(url, max(total, have), most_bytes)
        with part.open("ab") as file:
            have = _copy(answer, file.write, (url, have, total, most_bytes), say)
    return not total or have == total


def _copy(
    answer: http.client.HTTPResponse,
    write: Callable[[bytes], int],
    going: tuple[str, int, int, int],
    say: Say,
) -> int:
    url, have, total, most_bytes = going
    shown = 0.0
    while piece := answer.read1(_PIECE):
        write(piece)
        have += len(piece)
        _refuse_large(url, have, most_bytes)
        if time.monotonic() - shown > _SHOW_SECONDS:
            shown = time.monotonic()
            say(f"image: {have >> 20}{f' of {total >> 20}' if total else ''} MiB have come")
    return have


def _refuse_large(url: str, size: int, most_bytes: int) -> None:
    if size > most_bytes:
        raise UnderstudyError(
            where=url,
            found=f"at least {size >> 20} MiB",
            wanted=f"at most {most_bytes >> 20} MiB, which is what fits in the machines' system_disk",
            todo="Give the machines a larger `system_disk`, or make the image smaller.",
        )


def _validator(headers: http.client.HTTPMessage) -> str:
    """Return what names this very content, for ``If-Range``; a weak one does not. Source: RFC 9110, 13.1.5."""
    mark = headers.get("ETag", "")
    return str(mark if mark and not mark.startswith("W/") else headers.get("Last-Modified", ""))


def _mark(part: Path) -> str:
    with suppress(OSError, ValueError):
        return str(json.loads(_note(part).read_text(encoding="utf-8")))
    return ""


def _note(part: Path) -> Path:
    return part.with_suffix(".mark")


def _size(part: Path) -> int:
    try:
        return part.stat().st_size
    except FileNotFoundError:
        return 0


def _failed(url: str, found: str) -> UnderstudyError:
    return UnderstudyError(
        where=url, found=found, todo="See whether the address is right; then run it again: it goes on from there."
    )
