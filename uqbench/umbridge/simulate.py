"""A run of a foreign model: input vectors from parameters and a design, outputs from output vectors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array

from ..design import Design
from ..errors import InputError, Result
from .batches import Call
from .function import called
from .protocol import Server

# The entry of an input vector that stands for the times of the design.
TIMES = "times"
# One output vector: the name of an output, names of its entries, or None where it is not asked for.
OutputVector = str | Sequence[str] | None
# Two times that differ by less, relative to the longest, are the same.
SAME_TIME = 1e-9


@dataclass(frozen=True, eq=False)
class Simulate:
    """`simulate(theta, design, key)` of a foreign model; picklable.

    Args:
        vectors: what stands in each input vector. outputs: what each output vector is.
        sizes: of input and output vectors; None where they depend on the design.
        times: at which series are served. dims: output and its axes.
    """

    server: Server
    features: frozenset[str]
    vectors: tuple[tuple[str | float, ...], ...]
    outputs: tuple[OutputVector, ...]
    sizes: tuple[tuple[int, ...], tuple[int, ...]] | None
    times: tuple[float, ...] | None
    dims: tuple[tuple[str, tuple[str, ...]], ...]
    coords: Mapping[str, Any] | None

    def __call__(self, theta, design: Design, key) -> tuple[dict, Array]:
        known = {**design.inputs, **theta, TIMES: design.times}
        pieces = [[known[entry] if isinstance(entry, str) else entry for entry in each] for each in self.vectors]
        given: Array = jnp.zeros(0)
        count, shapes = 0, tuple[tuple[str, tuple[int, ...]], ...]()
        if callable(self.server.config):
            given = jnp.concatenate([design.times, *map(jnp.ravel, design.inputs.values())])
            count = len(design.times)
            shapes = tuple((name, jnp.shape(value)) for name, value in design.inputs.items())
        input_sizes = tuple(sum(jnp.size(piece) for piece in each) for each in pieces)
        sizes = (input_sizes, self._output_sizes(design)) if self.sizes is None else self.sizes
        unused = frozenset(index for index, each in enumerate(self.outputs) if each is None)
        call = Call(self.server, *sizes, self.features, count, shapes, unused)
        vectors, code = called(call, pieces, given)
        places, among = self._places(design)
        code = jnp.where((code == 0) & ~among, Result.TIME_NOT_SERVED, code)
        return self._named(vectors, places, design), code

    def _named(self, vectors: Sequence[Array], places: Array | None, design: Design) -> dict[str, Array]:
        dims, found = dict(self.dims), {}
        for each, vector in zip(self.outputs, vectors, strict=True):
            if isinstance(each, str):
                found[each] = self._shaped(each, vector, dims[each], places, design)
            elif each is not None:
                found |= {name: vector[k] for k, name in enumerate(each)}
        return found

    def _shaped(self, name: str, vector: Array, axes: tuple[str, ...], places: Array | None, design: Design) -> Array:
        if axes[:1] != ("time",):
            return vector[0] if axes == () else vector if len(axes) == 1 else vector.reshape(self._lengths(name, axes))
        count = len(design.times) if self.times is None else len(self.times)
        if vector.size % count or (axes == ("time",) and vector.size != count):
            raise InputError(
                f"UM-Bridge model {self.server.name!r}",
                [
                    f"output {name!r} is a series of {vector.size} numbers, and the design has {count} times; pass the "
                    "`times` at which the server gives it, or its `dims`."
                ],
            )
        rest = () if axes == ("time",) else (-1,) if len(axes) == 2 else self._lengths(name, axes[1:])
        values = vector.reshape((count, *rest))
        return values if places is None else values[places]

    def _lengths(self, name: str, axes: tuple[str, ...]) -> tuple[int, ...]:
        """How long axes are by their coordinates."""
        missing = [axis for axis in axes if axis not in (self.coords or {})]
        if missing:
            raise InputError(
                f"UM-Bridge model {self.server.name!r}",
                [f"how long the axis {axis!r} of {name!r} is; give its `coords`." for axis in missing],
            )
        return tuple(len((self.coords or {})[axis]) for axis in axes)

    def _output_sizes(self, design: Design) -> tuple[int, ...]:
        """Sizes of output vectors where the server is told the design, and where nobody has told ours to others."""
        count, dims, found = len(design.times) if self.times is None else len(self.times), dict(self.dims), []
        for each in self.outputs:
            if each is None:
                raise InputError(
                    f"UM-Bridge model {self.server.name!r}",
                    ["where the config is made from the design, name every output vector, so that its size is known."],
                )
            axes = dims[each] if isinstance(each, str) else ()
            timed, rest = axes[:1] == ("time",), axes[axes[:1] == ("time",) :]
            size = int(np.prod(self._lengths(str(each), rest))) if rest else 1
            found.append(len(each) if not isinstance(each, str) else size * (count if timed else 1))
        return tuple(found)

    def _places(self, design: Design) -> tuple[Array | None, Array]:
        """Where the times of the design are among those that are served, and whether all are."""
        if self.times is None:
            return None, jnp.asarray(True)
        served, times = np.array(self.times), _known_times(design.times)
        places = jnp.argmin(jnp.abs(times[:, None] - served), axis=1)
        gap = jnp.abs(times - jnp.asarray(served)[places])
        return places, jnp.all(gap <= SAME_TIME * np.max(np.abs(served)))


@jax.custom_jvp
def _known_times(times: Array) -> Array:
    """The times, which are looked up and have no derivatives."""
    return times


@partial(_known_times.defjvp, symbolic_zeros=True)
def _(primals, tangents):
    if not isinstance(tangents[0], SymbolicZero):
        raise InputError("UM-Bridge model", ["there are no derivatives by times at which a series is looked up."])
    return primals[0], jnp.zeros_like(primals[0])


def names_of(each: OutputVector) -> tuple[str, ...]:
    """The outputs in an output vector."""
    return (each,) if isinstance(each, str) else tuple(each or ())
