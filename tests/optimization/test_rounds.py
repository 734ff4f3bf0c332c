"""Searches side by side, with toys: each sees its own answers, whatever the others do."""

import numpy as np
import pytest

from uqbench.optimization.rounds import Stopped, in_rounds


def summing(start, length):
    """Asks for `length` points and returns the sum of the answers; what it has where it is stopped."""
    total = 0.0
    try:
        for step in range(length):
            total += yield np.array([start + step])
    except Stopped:
        return -total
    return total


def doubled(points):
    return list(2 * points[:, 0])


def test_results_are_in_the_order_of_the_searches():
    lengths, sizes, counts = [3, 0, 5, 1, 4], [], []

    def evaluate(points):
        sizes.append(len(points))
        return doubled(points)

    searches = [summing(10.0 * index, length) for index, length in enumerate(lengths)]
    results, interrupted = in_rounds(searches, evaluate, 2, done=counts.append)
    assert results == [2 * sum(10.0 * index + step for step in range(length)) for index, length in enumerate(lengths)]
    assert not interrupted
    assert max(sizes) == 2 and sum(sizes) == sum(lengths)
    assert counts == sorted(counts) and counts[-1] == len(lengths)


def test_enough_keeps_what_was_found_and_begins_no_more():
    asked = []
    results, interrupted = in_rounds(
        [summing(1.0, 9), summing(1.0, 9), summing(1.0, 9)],
        lambda points: asked.append(1) or doubled(points),
        2,
        enough=lambda: True,
    )
    # the first batch always runs
    assert len(asked) == 1
    assert results == [-2.0, -2.0, None] and not interrupted


def test_ctrl_c_in_an_evaluation_keeps_what_was_found():
    batches = []

    def evaluate(points):
        batches.append(len(points))
        if len(batches) == 3:
            raise KeyboardInterrupt
        return doubled(points)

    results, interrupted = in_rounds([summing(1.0, 1), summing(1.0, 9), summing(1.0, 9)], evaluate, 2)
    assert interrupted
    assert results == [2.0, -6.0, -2.0]


def test_ctrl_c_inside_a_search_ends_that_one_alone():
    def broken():
        yield np.zeros(1)
        raise KeyboardInterrupt

    results, interrupted = in_rounds([broken(), summing(1.0, 9)], doubled, 2)
    assert interrupted
    assert results[0] is None and results[1] == 0.0


def test_an_error_is_not_swallowed():
    with pytest.raises(ZeroDivisionError):
        in_rounds([summing(0.0, 2)], lambda points: 1 / 0, 2)
