"""Batches of evaluations and of Jacobians, as many requests at a time as the server takes."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..errors import Result
from .protocol import APPLY_JACOBIAN, GRADIENT, Failed, Server

# Answers in a row that did not come in time after which the rest of a batch is not asked for: each would take as long.
PATIENCE = 3


class Column(NamedTuple):
    """An entry of an input vector."""

    vector: int
    entry: int


@dataclass(frozen=True)
class Call:
    """What is the same for all runs of a batch; hashable.

    Args:
        input_sizes, output_sizes: of the vectors.
        times: how many times the design has. inputs: name and shape of each of its inputs. Both only where the config
            is made from them; their numbers come after those of the input vectors.
        unused: output vectors that nobody asks for, whose derivatives are left at 0.
    """

    server: Server
    input_sizes: tuple[int, ...]
    output_sizes: tuple[int, ...]
    features: frozenset[str]
    times: int = 0
    inputs: tuple[tuple[str, tuple[int, ...]], ...] = ()
    unused: frozenset[int] = frozenset()

    def vectors(self, row: np.ndarray) -> list[list[float]]:
        """The input vectors of a run, as the protocol has them."""
        ends = np.cumsum(self.input_sizes).tolist()
        return [row[end - size : end].tolist() for size, end in zip(self.input_sizes, ends, strict=True)]

    def config(self, row: np.ndarray):
        """The config of a run."""
        if not callable(self.server.config):
            return self.server.config
        place = sum(self.input_sizes) + self.times
        times, inputs = row[place - self.times : place], {}
        for name, shape in self.inputs:
            size = int(np.prod(shape))
            inputs[name], place = row[place : place + size].reshape(shape), place + size
        return self.server.config(times, inputs)


class Patience:
    """Whether it is still worth asking."""

    def __init__(self, server: Server):
        self._most, self._late, self._lock = max(PATIENCE, server.connections), 0, threading.Lock()

    def ask[T](self, request: Callable[[], T]) -> T | Failed:
        with self._lock:
            if self._late >= self._most:
                return Failed(Result.SERVER_LATE, "not asked any more: it was late too often in a row.")
        try:
            answer: T | Failed = request()
        except Failed as failed:
            answer = failed
        with self._lock:
            late = isinstance(answer, Failed) and answer.result == Result.SERVER_LATE
            self._late = self._late + 1 if late else 0
        return answer


def values(call: Call, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Outputs `(batch, sum of output sizes)` and codes `(batch,)` of inputs `(batch, ...)`; NaN where a run failed."""
    rows, place = _different(rows)
    found, codes = np.full((len(rows), sum(call.output_sizes)), np.nan), np.zeros(len(rows), int)

    def one(row: np.ndarray) -> np.ndarray:
        return call.server.evaluate(call.vectors(row), call.config(row), call.output_sizes)

    # of what is no number nothing is asked, and what follows is none either
    sound = np.flatnonzero(np.isfinite(rows).all(axis=1))
    for index, answer in zip(sound, _answers(call.server, one, [rows[k] for k in sound]), strict=True):
        if isinstance(answer, Failed):
            codes[index] = answer.result
        else:
            found[index] = answer
    return found[place], codes[place]


def jacobians(call: Call, columns: tuple[Column, ...], rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Derivatives `(batch, outputs, columns)` by some entries of the inputs, and codes `(batch,)`."""
    rows, place = _different(rows)
    found = np.full((len(rows), sum(call.output_sizes), len(columns)), np.nan)
    codes = np.zeros(len(rows), int)
    requests = _requests(call, columns)
    ends = np.cumsum(call.output_sizes).tolist()
    for out in call.unused:
        found[:, ends[out] - call.output_sizes[out] : ends[out]] = 0.0
    sound = np.flatnonzero(np.isfinite(rows).all(axis=1))
    tasks = [(k, request) for k in sound for request in requests]

    def one(task):
        index, request = task
        return request.ask(call, rows[index])

    for (index, request), answer in zip(tasks, _answers(call.server, one, tasks), strict=True):
        if isinstance(answer, Failed):
            codes[index] = answer.result
        else:
            found[(index, *request.place)] = answer
    return found[place], codes[place]


class _Row(NamedTuple):
    """One output by all moving entries of an input vector."""

    out: int
    entry: int
    vector: int
    entries: tuple[int, ...]
    place: tuple

    def ask(self, call: Call, row: np.ndarray) -> np.ndarray:
        inputs, sens = call.vectors(row), _unit(call.output_sizes[self.out], self.entry)
        found = call.server.gradient(self.out, self.vector, inputs, sens, call.config(row))
        return found[[*self.entries]]


class _Column(NamedTuple):
    """All entries of an output vector by one entry of an input vector."""

    out: int
    column: Column
    place: tuple

    def ask(self, call: Call, row: np.ndarray) -> np.ndarray:
        inputs, vec = call.vectors(row), _unit(call.input_sizes[self.column.vector], self.column.entry)
        size = call.output_sizes[self.out]
        return call.server.apply_jacobian(self.out, self.column.vector, inputs, vec, call.config(row), size)


def _requests(call: Call, columns: tuple[Column, ...]) -> Sequence[_Row | _Column]:
    """The fewest requests that give the Jacobian."""
    starts = np.concatenate([[0], np.cumsum(call.output_sizes)]).tolist()
    used = [(out, size) for out, size in enumerate(call.output_sizes) if size and out not in call.unused]
    by_vector: dict[int, list[int]] = {}
    for index, column in enumerate(columns):
        by_vector.setdefault(column.vector, []).append(index)
    rows = [
        _Row(out, entry, vector, tuple(columns[k].entry for k in among), (starts[out] + entry, among))
        for out, size in used
        for entry in range(size)
        for vector, among in by_vector.items()
    ]
    whole = [
        _Column(out, column, (slice(starts[out], starts[out + 1]), index))
        for out, size in used
        for index, column in enumerate(columns)
    ]
    known = [each for feature, each in ((APPLY_JACOBIAN, whole), (GRADIENT, rows)) if feature in call.features]
    return min(known, key=len)


def _unit(size: int, entry: int) -> list[float]:
    return [float(k == entry) for k in range(size)]


def _different(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows without repetitions (batches are filled up with the last one), and where each one is among them."""
    if len(rows) == 1:
        return rows, np.zeros(1, int)
    different, place = np.unique(rows, axis=0, return_inverse=True)
    return different, place.reshape(-1)


def _answers(server: Server, one: Callable, tasks: Sequence) -> list:
    """What `one` gives for each task, or `Failed`."""
    patience = Patience(server)
    if len(tasks) < 2 or server.connections == 1:
        return [patience.ask(lambda task=task: one(task)) for task in tasks]  # type: ignore[misc]
    with ThreadPoolExecutor(min(server.connections, len(tasks))) as pool:
        return [*pool.map(lambda task: patience.ask(lambda: one(task)), tasks)]
