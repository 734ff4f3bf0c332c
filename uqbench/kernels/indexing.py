"""Entries at positions: gather, scatter, slices and padding of arrays of nodes.

Positions must be known numbers, except where one number chooses a slice of an axis of at most 64 entries: then every
slice is written down, and `SELECT` chooses.
"""

import itertools
from collections.abc import Callable, Sequence

import numpy as np

from . import graph as g
from .graph import Graph, NotAKernel

MOST_STARTS = 64


def dynamic_slice(graph: Graph, params, array: np.ndarray, *starts: np.ndarray) -> np.ndarray:
    sizes = params["slice_sizes"]
    chosen = [
        _limited(graph, start[()], array.shape[axis] - sizes[axis], "dynamic_slice")
        for axis, start in enumerate(starts)
    ]

    def part(axis: int, rest: np.ndarray) -> np.ndarray:
        if axis == array.ndim:
            return rest
        options, which = chosen[axis]
        parts = [part(axis + 1, np.take(rest, range(start, start + sizes[axis]), axis=axis)) for start in options]
        return choose(graph, which, options, parts)

    return part(0, array)


def _limited(graph: Graph, start: int, last: int, name: str) -> tuple[Sequence[int], int]:
    """The possible starts, and the node that says which; JAX moves a start outside to the border."""
    value = graph.values[start]
    if value is not None:
        return [int(min(max(value, 0), last))], start
    if last + 1 > MOST_STARTS:
        raise NotAKernel(f"`{name}` has an index that depends on the values, among more than {MOST_STARTS} entries.")
    limited = graph.extreme(g.MIN, graph.extreme(g.MAX, start, graph.zero), graph.const(last))
    return range(last + 1), limited


def choose(graph: Graph, which: int, options: Sequence[int], parts: list[np.ndarray]) -> np.ndarray:
    """The part whose option equals `which`; the last one otherwise."""
    if len(parts) == 1:
        return parts[0]
    tests = [graph.compare(g.EQ, which, graph.const(option)) for option in options[:-1]]
    out = np.empty(parts[0].shape, dtype=object)
    for index in np.ndindex(out.shape):
        node = parts[-1][index]
        for test, part in zip(tests[::-1], parts[-2::-1], strict=True):
            node = graph.select(test, part[index], node)
        out[index] = node
    return out


def dynamic_update_slice(
    graph: Graph, params, array: np.ndarray, update: np.ndarray, *starts: np.ndarray
) -> np.ndarray:
    places = []
    for axis, start in enumerate(starts):
        value = _known(graph, start[()], "dynamic_update_slice")
        first = int(min(max(value, 0), array.shape[axis] - update.shape[axis]))
        places.append(slice(first, first + update.shape[axis]))
    out = array.copy()
    out[tuple(places)] = update
    return out


def _known(graph: Graph, node: int, name: str) -> float:
    value = graph.values[node]
    if value is None:
        raise NotAKernel(f"`{name}` has an index that depends on the values.")
    return value


def pad(graph: Graph, params, array: np.ndarray, filling: np.ndarray) -> np.ndarray:
    for axis, (low, high, between) in enumerate(params["padding_config"]):
        rows = np.moveaxis(array, axis, 0)
        size = rows.shape[0] + max(rows.shape[0] - 1, 0) * between
        wide = np.empty((size + max(low, 0) + max(high, 0), *rows.shape[1:]), dtype=object)
        wide[...] = filling[()]
        wide[max(low, 0) : max(low, 0) + size : between + 1] = rows
        rows = wide[max(-low, 0) : wide.shape[0] - max(-high, 0)]
        array = np.moveaxis(rows, 0, axis)
    return array


def gather(graph: Graph, params, array: np.ndarray, indices: np.ndarray) -> np.ndarray:
    numbers, sizes, mode = params["dimension_numbers"], params["slice_sizes"], params["mode"].name
    batch_shape = indices.shape[:-1]
    dropped = (*numbers.collapsed_slice_dims, *numbers.operand_batching_dims)
    window = [size for axis, size in enumerate(sizes) if axis not in dropped]
    out = np.empty((*batch_shape, *window), dtype=object)

    def slice_at(where: dict[int, int]) -> np.ndarray:
        starts = [where.get(axis, 0) for axis in range(array.ndim)]
        lasts = [array.shape[axis] - sizes[axis] for axis in range(array.ndim)]
        if mode == "FILL_OR_DROP" and any(not 0 <= start <= last for start, last in zip(starts, lasts, strict=True)):
            empty = np.empty(window, dtype=object)
            empty[...] = graph.const(float("nan") if params["fill_value"] is None else params["fill_value"])
            return empty
        starts = [min(max(start, 0), last) for start, last in zip(starts, lasts, strict=True)]
        part = array[tuple(slice(start, start + size) for start, size in zip(starts, sizes, strict=True))]
        return part.reshape(window)

    for batch in np.ndindex(batch_shape):
        fixed = {
            axis: batch[where]
            for axis, where in zip(numbers.operand_batching_dims, numbers.start_indices_batching_dims, strict=True)
        }
        options, tests = [], []
        for axis, node in zip(numbers.start_index_map, indices[batch], strict=True):
            value = graph.values[node]
            if value is not None:
                options.append([int(value)])
                tests.append(None)
                continue
            last = array.shape[axis] - sizes[axis]
            if last + 1 > MOST_STARTS or any(test is not None for test in tests):
                raise NotAKernel("`gather` has indices that depend on the values, on several or long axes.")
            # one step outside on either side stands for everything outside
            options.append(range(-1, last + 2))
            tests.append(graph.extreme(g.MIN, graph.extreme(g.MAX, node, graph.minus_one), graph.const(last + 1)))
        parts = [
            slice_at(fixed | dict(zip(numbers.start_index_map, starts, strict=True)))
            for starts in itertools.product(*options)
        ]
        position = next((k for k, test in enumerate(tests) if test is not None), None)
        out[batch] = parts[0] if position is None else choose(graph, tests[position], options[position], parts)
        if not window:
            out[batch] = out[batch][()] if isinstance(out[batch], np.ndarray) else out[batch]
    # the axes of the window go to the places JAX gives them
    batches = len(batch_shape)
    order, batch_axes, window_axes = [], iter(range(batches)), iter(range(batches, out.ndim))
    for axis in range(out.ndim):
        order.append(next(window_axes) if axis in numbers.offset_dims else next(batch_axes))
    return np.transpose(out, order)


def _scatter(name: str, join: Callable | None) -> Callable:
    def scatter(graph: Graph, params, array: np.ndarray, indices: np.ndarray, updates: np.ndarray) -> np.ndarray:
        numbers, mode = params["dimension_numbers"], params["mode"].name
        window_axes = numbers.update_window_dims
        batch_axes = [axis for axis in range(updates.ndim) if axis not in window_axes]
        ordered = np.transpose(updates, (*batch_axes, *window_axes))
        dropped = (*numbers.inserted_window_dims, *numbers.operand_batching_dims)
        kept = [axis for axis in range(array.ndim) if axis not in dropped]
        sizes = [1] * array.ndim
        for axis, own in zip(kept, window_axes, strict=True):
            sizes[axis] = updates.shape[own]
        out = array.copy()
        for batch in np.ndindex(indices.shape[:-1]):
            starts = [0] * array.ndim
            for axis, node in zip(numbers.scatter_dims_to_operand_dims, indices[batch], strict=True):
                starts[axis] = int(_known(graph, node, name))
            for axis, where in zip(numbers.operand_batching_dims, numbers.scatter_indices_batching_dims, strict=True):
                starts[axis] = batch[where]
            lasts = [array.shape[axis] - sizes[axis] for axis in range(array.ndim)]
            if any(not 0 <= start <= last for start, last in zip(starts, lasts, strict=True)):
                if mode == "FILL_OR_DROP":
                    continue
                starts = [min(max(start, 0), last) for start, last in zip(starts, lasts, strict=True)]
            region = tuple(slice(start, start + size) for start, size in zip(starts, sizes, strict=True))
            new = np.empty(sizes, dtype=object)
            new[...] = np.asarray(ordered[batch], dtype=object).reshape(sizes)
            if join is None:
                out[region] = new
            else:
                old = out[region]
                for index in np.ndindex(*sizes):
                    new[index] = join(graph, old[index], new[index])
                out[region] = new
        return out

    return scatter


# primitive -> (graph, params, *operands) -> array
GATHERS: dict[str, Callable] = {
    "dynamic_slice": dynamic_slice,
    "dynamic_update_slice": dynamic_update_slice,
    "pad": pad,
    "gather": gather,
    "scatter": _scatter("scatter", None),
    "scatter-add": _scatter("scatter-add", Graph.add),
    "scatter-sub": _scatter("scatter-sub", Graph.sub),
    "scatter-mul": _scatter("scatter-mul", Graph.mul),
    "scatter-max": _scatter("scatter-max", lambda graph, a, b: graph.extreme(g.MAX, a, b)),
    "scatter-min": _scatter("scatter-min", lambda graph, a, b: graph.extreme(g.MIN, a, b)),
}
