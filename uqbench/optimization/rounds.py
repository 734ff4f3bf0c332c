"""Many searches side by side: each is written as if it were alone, and what they ask for is solved in one batch."""

from collections.abc import Callable, Generator, Sequence

import numpy as np
from jaxtyping import Float


class Stopped(Exception):
    """Thrown into a search that has to end: it returns what it has."""


def in_rounds[Answer, Found](
    searches: Sequence[Generator[Float[np.ndarray, " k"], Answer, Found]],
    evaluate: Callable[[Float[np.ndarray, "n k"]], Sequence[Answer]],
    together: int,
    *,
    done: Callable[[int], object] = lambda count: None,
    enough: Callable[[], bool] = lambda: False,
) -> tuple[list[Found | None], bool]:
    """Runs searches that yield a point and are sent what was found there; as many at once as fit into a batch.

    Args:
        searches: generators, whose returned values are the results.
        evaluate: points -> answers in their order.
        together: size of a batch; another search begins when one is done.
        done: is called with how many are done.
        enough: whether to stop; asked before every batch but the first, so that there is always something to keep.

    Returns:
        the results in the order of the searches, None of those that were never begun; and whether Ctrl-C has stopped
        them.
    """
    waiting = list(range(len(searches)))[::-1]
    results: list[Found | None] = [None] * len(searches)
    asked: dict[int, np.ndarray] = {}

    def advance(index: int, step: Callable[..., np.ndarray], *sent) -> None:
        try:
            asked[index] = step(*sent)
        except StopIteration as stop:
            results[index] = stop.value
            asked.pop(index, None)
            done(len(searches) - len(waiting) - len(asked))

    interrupted, batches = False, 0
    try:
        while (waiting or asked) and not (batches and enough()):
            while waiting and len(asked) < together:
                index = waiting.pop()
                advance(index, next, searches[index])
            order = list(asked)
            if order:
                answers = evaluate(np.stack([asked[each] for each in order]))
                batches += 1
                for index, answer in zip(order, answers, strict=True):
                    advance(index, searches[index].send, answer)
    except KeyboardInterrupt:
        interrupted = True
    for index in list(asked):
        try:
            advance(index, searches[index].throw, Stopped())
        except Stopped:
            # it was in the middle of a step when Ctrl-C came, which has ended it
            asked.pop(index)
    return results, interrupted
