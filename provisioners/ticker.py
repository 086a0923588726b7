"""Says again what is going on while nothing new is said: a long step is never a silent one."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from provisioners.outcome import Say

TICK_SECONDS = 10.0


@contextmanager
def ticking(say: Say, seconds: float = TICK_SECONDS) -> Iterator[Say]:
    """Give what shows lines of progress; while none comes, the last one is shown again with the time that it has taken.

    A line that is the same as the one before is no news. Nothing is shown any more once the block has ended.

    Args:
        say: shows a line.
        seconds: after so long without a line, the last one is repeated.
    """
    last = [("at work", time.monotonic())]
    guard, news, over = threading.Lock(), threading.Event(), threading.Event()

    def tell(text: str) -> None:
        with guard:
            if text == last[0][0]:
                return
            last[0] = (text, time.monotonic())
        news.set()
        say(text)

    def repeat() -> None:
        while not over.is_set():
            if news.wait(seconds):
                news.clear()
                continue
            with guard:
                text, since = last[0]
                if not over.is_set():
                    say(f"{text} ({time.monotonic() - since:.0f} s)")

    ticker = threading.Thread(target=repeat, name="ticker", daemon=True)
    ticker.start()
    try:
        yield tell
    finally:
        over.set()
        news.set()
        ticker.join()
