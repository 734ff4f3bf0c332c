"""How far long work has come: a bar on a terminal, a plain line now and then where the output is piped."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SECONDS_BETWEEN_LINES = 10.0


@contextmanager
def progress(label: str, total: int) -> Iterator[Callable]:
    """Yields `update(done, message="")`, to be called with the number of finished steps out of `total`.

    Example:
        >>> with progress("counting", 3) as update:
        ...     update(3)
    """
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total} {task.fields[note]}"),
        )
        with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True)) as bar:
            task = bar.add_task(label, total=total, note="")
            yield lambda done, message="": bar.update(task, completed=done, note=message)
        return

    started = shown = time.monotonic()
    last = (0, "")

    def update(done: int, message: str = "") -> None:
        nonlocal shown, last
        last = (done, message)
        if time.monotonic() - shown >= SECONDS_BETWEEN_LINES:
            shown = time.monotonic()
            print(f"{label}: {done}/{total} {message}".rstrip(), file=sys.stderr, flush=True)

    yield update
    done, message = last
    print(
        f"{label}: {done}/{total} in {time.monotonic() - started:.1f} s {message}".rstrip(), file=sys.stderr, flush=True
    )
