"""How far long work has come and how long it will take: a bar on a terminal, a plain line now and then where the output
is piped."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SECONDS_BETWEEN_LINES = 10.0
# How often it is looked whether a line is due though no step has ended.
WATCH = 1.0


@contextmanager
def progress(label: str, total: int) -> Iterator[Callable]:
    """Yields `update(done, message="")`, to be called with the number of finished steps out of `total`.

    The time left is what the steps that remain would take if they took as long as those before.

    Example:
        >>> with progress("counting", 3) as update:
        ...     update(3)
    """
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total} {task.fields[note]}"),
        )
        with Progress(
            *columns, TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(), console=Console(stderr=True)
        ) as bar:
            task = bar.add_task(label, total=total, note="")
            yield lambda done, message="": bar.update(task, completed=done, note=message)
        return

    started = shown = time.monotonic()
    last = (0, "")
    ended = threading.Event()

    def show() -> None:
        nonlocal shown
        if time.monotonic() - shown >= SECONDS_BETWEEN_LINES:
            shown = time.monotonic()
            done, message = last
            left = f"{_in_words((shown - started) * (total - done) / done)} left" if done else ""
            print(
                " ".join(part for part in (f"{label}: {done}/{total}", left, message) if part),
                file=sys.stderr,
                flush=True,
            )

    def update(done: int, message: str = "") -> None:
        nonlocal last
        last = (done, message)
        show()

    def keep_showing() -> None:
        """A step that takes long, such as the first, which compiles, is no silence."""
        while not ended.wait(WATCH):
            show()

    threading.Thread(target=keep_showing, daemon=True).start()
    try:
        yield update
    finally:
        ended.set()
    done, message = last
    print(
        f"{label}: {done}/{total} in {time.monotonic() - started:.1f} s {message}".rstrip(), file=sys.stderr, flush=True
    )


def _in_words(seconds: float) -> str:
    """About how long that is."""
    if seconds < 99:
        return f"about {seconds:.0f} s"
    return f"about {seconds / 60:.0f} min" if seconds < 99 * 60 else f"about {seconds / 3600:.0f} h"
