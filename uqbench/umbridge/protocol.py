"""The protocol of UM-Bridge, version 1: a function from vectors to vectors behind HTTP, with JSON.

Seelinger et al. 2023, "UM-Bridge: Uncertainty quantification and modeling bridge", doi:10.21105/joss.04748. A model has
a name, input and output vectors whose sizes may depend on a `config`, and may have derivatives: Gradient, the product
of a row with one block of the Jacobian; ApplyJacobian, the product of such a block with a column.
"""

import json
import re
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from ..errors import Result
from .http import Address, Gone, Late, request

VERSION = 1.0
EVALUATE, GRADIENT, APPLY_JACOBIAN, APPLY_HESSIAN = "Evaluate", "Gradient", "ApplyJacobian", "ApplyHessian"
FEATURES = (EVALUATE, GRADIENT, APPLY_JACOBIAN, APPLY_HESSIAN)
# Failures that are kept to be read, and characters of what a server says.
MOST_FAILURES, MOST_WORDS = 256, 500
Config = Mapping[str, Any]
# What some servers write for numbers that JSON has no word for.
NOT_JSON = {b"nan": b"NaN", b"inf": b"Infinity", b"infinity": b"Infinity"}


class Failure(NamedTuple):
    """A request that failed.

    Args:
        url, name: of the server and its model. feature: what was asked, such as "Evaluate" or "Info".
        result: the code of the run.
        words: what happened, or what the server said of it.
        inputs: the input vectors; none where that was about the model itself.
        time: seconds since 1970.
    """

    url: str
    name: str
    feature: str
    result: Result
    words: str
    inputs: list[list[float]]
    time: float


_failures: deque[Failure] = deque(maxlen=MOST_FAILURES)


def recent_failures() -> tuple[Failure, ...]:
    """The last requests of this process that failed, the latest last: a code says what, here is what the server said.

    Example:
        >>> all(failure.result != 0 for failure in recent_failures())
        True
    """
    return tuple(_failures)


class Failed(Exception):
    """No usable answer; `result` is the code that a run gets."""

    def __init__(self, result: Result, words: str):
        super().__init__(words)
        self.result, self.words = result, words[:MOST_WORDS]


@dataclass(frozen=True, eq=False)
class Server:
    """A model on a server.

    Args:
        url: of the server. name: of the model there.
        config: sent with each request, or `config(times, inputs)` that makes it from arrays of a design.
        timeout: seconds within which an answer must be there.
        connections: requests that are sent at the same time.
    """

    url: str
    name: str
    config: Config | Callable[..., Config] = field(default_factory=dict)
    timeout: float = 60.0
    connections: int = 1

    def __repr__(self) -> str:
        # belongs to the content of a model: where and how patiently it is asked does not
        config = self.config
        if isinstance(config, Mapping):
            return f"{self.name} {json.dumps(config, sort_keys=True)}"
        return (
            f"{self.name} {getattr(config, '__module__', '')}.{getattr(config, '__qualname__', type(config).__name__)}"
        )

    def models(self) -> tuple[str, ...]:
        """Names of the models of the server."""
        answer = self._ask("/Info", None)
        if answer.get("protocolVersion") != VERSION:
            words = f"it speaks version {answer.get('protocolVersion')!r}, not {VERSION}."
            raise self._failed("Info", Result.BAD_ANSWER, words, [])
        return tuple(map(str, answer.get("models") or ()))

    def features(self) -> frozenset[str]:
        """Which of `FEATURES` the model has."""
        support = self._ask("/ModelInfo", {"name": self.name}).get("support")
        if not isinstance(support, Mapping):
            raise self._failed("ModelInfo", Result.BAD_ANSWER, f"it says {support!r} of what is supported.", [])
        return frozenset(feature for feature in FEATURES if support.get(feature) is True)

    def sizes(self, config: Config) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Sizes of the input and of the output vectors."""
        found = []
        for path, key in (("/InputSizes", "inputSizes"), ("/OutputSizes", "outputSizes")):
            sizes = self._ask(path, {"name": self.name, "config": config}).get(key)
            if not isinstance(sizes, list) or not all(type(size) is int and size >= 0 for size in sizes):
                raise self._failed(path[1:], Result.BAD_ANSWER, f"{path[1:]} are {sizes!r}.", [])
            found.append(tuple(sizes))
        return found[0], found[1]

    def evaluate(self, inputs: list[list[float]], config: Config, sizes: Sequence[int]) -> np.ndarray:
        """All output vectors, of these sizes, one after another."""
        output = self._result(EVALUATE, {}, inputs, config)
        given = (
            [len(each) if isinstance(each, list) else each for each in output] if isinstance(output, list) else output
        )
        if given != [*sizes]:
            raise self._failed(
                EVALUATE, Result.BAD_ANSWER, f"output vectors have the sizes {given}, not {[*sizes]}.", inputs
            )
        return np.concatenate([np.zeros(0), *(self._numbers(EVALUATE, each, len(each), inputs) for each in output)])

    def gradient(self, out: int, into: int, inputs, sens: list[float], config: Config) -> np.ndarray:
        """The row `sens` times the block of the Jacobian of output vector `out` by input vector `into`."""
        output = self._result(GRADIENT, {"outWrt": out, "inWrt": into, "sens": sens}, inputs, config)
        return self._numbers(GRADIENT, output, len(inputs[into]), inputs)

    def apply_jacobian(self, out: int, into: int, inputs, vec: list[float], config: Config, size: int) -> np.ndarray:
        """The same block times the column `vec`, of this size."""
        output = self._result(APPLY_JACOBIAN, {"outWrt": out, "inWrt": into, "vec": vec}, inputs, config)
        return self._numbers(APPLY_JACOBIAN, output, size, inputs)

    def _result(self, feature: str, more: Config, inputs: list[list[float]], config: Config):
        body = {"name": self.name, **more, "input": inputs, "config": config}
        return self._ask(f"/{feature}", body).get("output")

    def _numbers(self, feature: str, output, size: int, inputs) -> np.ndarray:
        try:
            found = np.asarray(output)
        except ValueError:
            found = np.asarray(None)
        if found.shape != (size,) or (size and found.dtype.kind not in "if"):
            words = f"it gives {str(output)[:80]} where {size} numbers belong."
            raise self._failed(feature, Result.BAD_ANSWER, words, inputs)
        return found.astype(float)

    def _failed(self, feature: str, result: Result, words: str, inputs: list[list[float]]) -> Failed:
        _failures.append(Failure(self.url, self.name, feature, result, words[:MOST_WORDS], inputs, time.time()))
        return Failed(result, words)

    def _ask(self, path: str, body: Config | None) -> Mapping:
        address = Address.of(self.url)
        assert address is not None  # checked when it was connected to
        sent = None if body is None else json.dumps(body).encode()
        feature, inputs = path[1:], (body or {}).get("input", [])
        try:
            status, content = request(address, path, sent, self.timeout)
        except Late as error:
            words = f"no answer within {self.timeout:g} s ({error})."
            raise self._failed(feature, Result.SERVER_LATE, words, inputs) from error
        except Gone as error:
            raise self._failed(feature, Result.SERVER_GONE, str(error), inputs) from error
        answer = _decoded(content)
        if isinstance(answer, Mapping) and answer.get("error"):
            raise self._failed(feature, Result.SERVER_ERROR, _words(answer["error"]), inputs)
        if status != 200:
            words = f"status {status}: {content.decode(errors='replace').strip()}"
            raise self._failed(feature, Result.SERVER_ERROR, words, inputs)
        if not isinstance(answer, Mapping):
            words = f"{feature} is answered with {content[:80]!r}, which is no JSON object."
            raise self._failed(feature, Result.BAD_ANSWER, words, inputs)
        return answer


def _words(error) -> str:
    return f"{error.get('type')}: {error.get('message')}" if isinstance(error, Mapping) else str(error)


def _decoded(content: bytes):
    """JSON as Python objects, with NaN and infinities also as Python prints them; None where it is none."""
    for candidate in (lambda: content, lambda: re.sub(rb"\b(nan|inf|infinity)\b", lambda m: NOT_JSON[m[0]], content)):
        try:
            return json.loads(candidate())
        except ValueError:
            continue
    return None
