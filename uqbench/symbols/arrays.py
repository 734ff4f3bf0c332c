"""Arrays of exact entries: what JAX does with axes and positions, done with NumPy object arrays.

Rearrangements (reshape, slice, stack ...) never look at the entries. The rarer ones, whose rules are long (gather, pad,
scatter), are not rewritten here: JAX runs them on the *numbers* of the entries, and the result says which entry goes
where.
"""

from collections.abc import Callable
from fractions import Fraction
from functools import reduce
from itertools import accumulate

import jax.numpy as jnp
import numpy as np
from jax.extend.core import JaxprEqn

# primitive -> which operands hold entries; the others are indices and must be known
POSITIONAL = {
    "gather": (0,), "dynamic_slice": (0,), "dynamic_update_slice": (0, 1), "scatter": (0, 2), "pad": (0, 1)
}  # fmt: skip


def elementwise(operation: Callable, *arrays: np.ndarray) -> np.ndarray:
    """`operation` on corresponding entries; scalars are spread."""
    out = np.empty(np.broadcast_shapes(*(array.shape for array in arrays)), dtype=object)
    out[...] = np.frompyfunc(operation, len(arrays), 1)(*arrays)
    return out


def reduce_axes(operation: Callable, neutral, array: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """All entries along `axes` joined by `operation`."""
    kept = [axis for axis in range(array.ndim) if axis not in axes]
    shape = tuple(array.shape[axis] for axis in kept)
    rows = np.transpose(array, (*kept, *axes)).reshape(*shape, -1)
    out = np.empty(shape, dtype=object)
    for index in np.ndindex(shape):
        out[index] = reduce(operation, rows[index], neutral)
    return out


def scan_axis(operation: Callable, array: np.ndarray, axis: int, reverse: bool) -> np.ndarray:
    """Running joins along one axis."""
    rows = np.moveaxis(array, axis, -1)
    rows = rows[..., ::-1] if reverse else rows
    out = np.empty(rows.shape, dtype=object)
    for index in np.ndindex(rows.shape[:-1]):
        out[index] = list(accumulate(rows[index], operation))
    return np.moveaxis(out[..., ::-1] if reverse else out, -1, axis)


def dot_general(add: Callable, mul: Callable, dimension_numbers, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """JAX's general product: axes are batched, then free ones of the left, then free ones of the right."""
    contracted, batched = dimension_numbers

    def arrange(array, sum_axes, batch_axes):
        free = [axis for axis in range(array.ndim) if axis not in (*sum_axes, *batch_axes)]
        shapes = [tuple(array.shape[axis] for axis in axes) for axes in (batch_axes, free, sum_axes)]
        # written out: an empty array has no size that could be told from the others
        sizes = [int(np.prod(shape, dtype=int)) for shape in shapes]
        return np.transpose(array, (*batch_axes, *free, *sum_axes)).reshape(sizes), *shapes[:2]

    left, batch_shape, left_shape = arrange(left, contracted[0], batched[0])
    right, _, right_shape = arrange(right, contracted[1], batched[1])
    out = np.empty((left.shape[0], left.shape[1], right.shape[1]), dtype=object)
    for b, i, j in np.ndindex(out.shape):
        out[b, i, j] = reduce(add, map(mul, left[b, i], right[b, j]), Fraction(0))
    return out.reshape(batch_shape + left_shape + right_shape)


def move_entries(equation: JaxprEqn, operands: list[np.ndarray]) -> np.ndarray | None:
    """Runs a primitive of `POSITIONAL` on entry numbers; None if an index is not known."""
    held = POSITIONAL[equation.primitive.name]
    pool, given = [], []
    for position, (operand, var) in enumerate(zip(operands, equation.invars, strict=True)):
        if position in held:
            numbers = np.arange(operand.size, dtype=float).reshape(operand.shape) + len(pool)
            pool.extend(operand.ravel())
            given.append(jnp.asarray(numbers))
        elif (indices := known_indices(operand, var.aval.dtype)) is not None:
            given.append(indices)
        else:
            return None
    numbers = np.asarray(equation.primitive.bind(*given, **equation.params))
    # JAX fills with nan where an index lies outside the array
    return elementwise(lambda number: float("nan") if np.isnan(number) else pool[int(number)], numbers.astype(object))


def known_indices(array: np.ndarray, dtype):
    """The integers in an array of entries, or None if one of them is not known."""
    if not all(isinstance(entry, Fraction) for entry in array.ravel()):
        return None
    return jnp.asarray(np.array([int(entry) for entry in array.ravel()]).reshape(array.shape), dtype=dtype)


def scatter_add(add: Callable, equation: JaxprEqn, operands: list[np.ndarray]) -> np.ndarray | None:
    """Adds entries at known positions; None if a position is not known."""
    out, indices, updates = operands
    indices = known_indices(indices, equation.invars[1].aval.dtype)
    if indices is None:
        return None
    out = out.copy()
    for which, hits in _probes(updates.shape, lambda probe: (jnp.zeros(out.shape), indices, probe), equation):
        for where in zip(*np.nonzero(hits), strict=True):
            out[where] = add(out[where], updates[which])
    return out


def convolve(add: Callable, mul: Callable, equation: JaxprEqn, operands: list[np.ndarray]) -> np.ndarray:
    """Any convolution: an entry on the left meets at most one entry on the right for each result."""
    left, right = operands
    numbers = jnp.arange(1.0, right.size + 1).reshape(right.shape)
    out = np.full(equation.outvars[0].aval.shape, Fraction(0), dtype=object)
    for which, hits in _probes(left.shape, lambda probe: (probe, numbers), equation):
        for where in zip(*np.nonzero(hits), strict=True):
            partner = right.ravel()[round(hits[where]) - 1]
            out[where] = add(out[where], mul(left[which], partner))
    return out


def _probes(shape: tuple[int, ...], arguments: Callable, equation: JaxprEqn):
    """What a linear primitive makes of each unit array of `shape`."""
    for which in np.ndindex(shape):
        probe = jnp.zeros(shape).at[which].set(1.0)
        yield which, np.asarray(equation.primitive.bind(*arguments(probe), **equation.params))


def _broadcast(params, x):
    shape, kept = params["shape"], params["broadcast_dimensions"]
    spread = [1] * len(shape)
    for axis, size in zip(kept, x.shape, strict=True):
        spread[axis] = size
    return np.broadcast_to(x.reshape(spread), shape)


def _slice(params, x):
    strides = params["strides"] or (1,) * x.ndim
    bounds = zip(params["start_indices"], params["limit_indices"], strides, strict=True)
    return x[tuple(slice(*bound) for bound in bounds)]


def _iota(params, *_):
    shape, axis = params["shape"], params["dimension"]
    spread = [size if k == axis else 1 for k, size in enumerate(shape)]
    counts = np.array([Fraction(k) for k in range(shape[axis])], dtype=object)
    return np.broadcast_to(counts.reshape(spread), shape)


def _split(params, x):
    return np.split(x, np.cumsum(params["sizes"])[:-1], axis=params["axis"])


def _unstack(params, x):
    # an index that keeps the other axes, so that single entries stay arrays
    return [np.moveaxis(x, params["axis"], 0)[index, ...] for index in range(x.shape[params["axis"]])]


# primitive -> (params, *operands) -> array, or list of arrays
REARRANGEMENTS: dict[str, Callable] = {
    "broadcast_in_dim": _broadcast,
    "reshape": lambda params, x: x.reshape(params["new_sizes"]),
    "squeeze": lambda params, x: np.squeeze(x, axis=params["dimensions"]),
    "expand_dims": lambda params, x: np.expand_dims(x, params["dimensions"]),
    "transpose": lambda params, x: np.transpose(x, params["permutation"]),
    "rev": lambda params, x: np.flip(x, params["dimensions"]),
    "slice": _slice,
    "concatenate": lambda params, *xs: np.concatenate(xs, axis=params["dimension"]),
    "stack": lambda params, *xs: np.stack(xs, axis=params["axis"]),
    "unstack": _unstack,
    "split": _split,
    "tile": lambda params, x: np.tile(x, params["reps"]),
    "iota": _iota,
}
