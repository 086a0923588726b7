"""A web server for one file, which can be told to cut answers off, to forget how to resume, or to have another file."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(kw_only=True)
class Served:
    """What is served, and how.

    Args:
        content: of the file.
        etag: names the content; empty for none.
        cuts: after how many bytes the next answers are cut off; an answer is whole when none is left.
        resumes: whether a range that is asked for is given.
        length: whether the length is told.
        status: of all answers, where it is an error.
        asked: the ranges that were asked for, empty for all.
    """

    content: bytes
    etag: str = '"one"'
    cuts: list[int] = field(default_factory=list)
    resumes: bool = True
    length: bool = True
    status: int = 200
    asked: list[str] = field(default_factory=list)
    address: str = ""


@contextmanager
def serving(served: Served) -> Iterator[Served]:
    """Serve it on this computer alone, for a while."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self, served)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    served.address = f"http://127.0.0.1:{server.server_port}/images/own.qcow2"
    try:
        yield served
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def answer(handler: BaseHTTPRequestHandler, served: Served) -> None:
    wanted = handler.headers.get("Range", "")
    served.asked.append(wanted)
    if served.status >= 400:
        handler.send_error(served.status)
        return
    start, whole = 0, len(served.content)
    if wanted and served.resumes and handler.headers.get("If-Range") == served.etag:
        start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])  # type: ignore[index]
        if start >= whole:
            handler.send_response(416)
            handler.send_header("Content-Range", f"bytes */{whole}")
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        handler.send_response(206)
        handler.send_header("Content-Range", f"bytes {start}-{whole - 1}/{whole}")
    else:
        handler.send_response(200)
    if served.etag:
        handler.send_header("ETag", served.etag)
    if served.length:
        handler.send_header("Content-Length", str(whole - start))
    handler.end_headers()
    cut = served.cuts.pop(0) if served.cuts else whole
    handler.wfile.write(served.content[start : start + cut])
    handler.close_connection = True
