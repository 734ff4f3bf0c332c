"""Exponentials one after another, their tangents and their adjoint: by machine code where this process has an engine
for it, else by `uniformisation`."""

import hashlib
from functools import cache, lru_cache

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from ..native import foreign_call
from ..native.library import Library, PackedRecord, pack
from . import stencil_code
from .box import Box
from .uniformisation import Sum, exponential, exponential_adjoint, exponential_tangents

CODE = {each.__name__: each for each in (stencil_code.exponentials, stencil_code.tangents, stencil_code.adjoint)}


def exponentials(
    box: Box,
    rates: Float[Array, "exponentials groups states"],
    durations: Float[Array, " exponentials"],
    start: Float[Array, " states"],
    ends: Sum,
) -> tuple[Float[Array, "exponentials states"], Float[Array, " exponentials"]]:
    """The distribution after each exponential, and the products of each."""
    if foreign_call.engine_runs():
        shapes = [(len(durations), box.states), durations.shape]
        rows, products = _call("exponentials", box, [rates, durations, start], ends, shapes)
        return rows, products

    def one(q, each):
        q, products = exponential(box, *each, q, ends)
        return q, (q, products.astype(float))

    return lax.scan(one, start, (rates, durations))[1]


def exponential_changes(
    box: Box,
    rates: Float[Array, "exponentials groups states"],
    durations: Float[Array, " exponentials"],
    starts: Float[Array, "exponentials states"],
    d_rates: Float[Array, "exponentials changes groups states"],
    d_start: Float[Array, "changes states"],
    ends: Sum,
) -> Float[Array, "exponentials changes states"]:
    """Changes after each exponential, with those of the rates and of the distribution before the first.

    Args:
        starts: the distribution before each.
    """
    if foreign_call.engine_runs():
        shape = (len(durations), *d_start.shape)
        return _call("tangents", box, [rates, durations, starts, d_rates, d_start], ends, [shape])[0]

    def one(dq, each):
        rates, duration, start, d_rates = each
        dq = exponential_tangents(box, rates, duration, start, d_rates, dq, ends)
        return dq, dq

    return lax.scan(one, d_start, (rates, durations, starts, d_rates))[1]


def exponential_derivatives(
    box: Box,
    rates: Float[Array, "exponentials groups states"],
    durations: Float[Array, " exponentials"],
    starts: Float[Array, "exponentials states"],
    read: Float[Array, "exponentials states"],
    after: Float[Array, " states"],
    ends: Sum,
) -> tuple[Float[Array, "exponentials groups states"], Float[Array, " states"]]:
    """Derivatives by the rates and by the distribution before the first exponential.

    Args:
        starts: the distribution before each.
        read, after: derivatives by the distribution after each, as far as it is read there, and by the last as far as
            it is gone on from.
    """
    if foreign_call.engine_runs():
        shapes = [rates.shape, (box.states,)]
        rates_bar, start_bar = _call("adjoint", box, [rates, durations, starts, read, after], ends, shapes)
        return rates_bar, start_bar

    def one(bar, each):
        rates, duration, start, read = each
        rates_bar, bar = exponential_adjoint(box, rates, duration, start, bar + read, ends)
        return bar, rates_bar

    start_bar, rates_bar = lax.scan(one, after, (rates, durations, starts, read), reverse=True)
    return rates_bar, start_bar


def _call(code: str, box: Box, operands: list[Array], ends: Sum, shapes: list[tuple[int, ...]]) -> tuple[Array, ...]:
    settings = jnp.array([ends.terms, ends.tail])
    return foreign_call.call_model(_target(code, box), [*operands, settings], shapes)


@cache
def _engine(code: str) -> Library:
    return foreign_call.build(CODE[code])


_records: dict[str, PackedRecord] = {}


@lru_cache(maxsize=256)
def _target(code: str, box: Box) -> str:
    """The name by which compiled JAX calls the code for a box; the same in every process."""
    given = len(box.shifts)
    groups = max(2, given + given % 2)
    shifts = np.zeros(groups, np.int64)
    shifts[:given] = box.shifts
    inside = np.zeros((groups, box.states))
    inside[:given] = box.inside
    digest = hashlib.sha256(repr((box.shape, given)).encode() + shifts.tobytes() + inside.tobytes()).hexdigest()[:32]
    name = f"uqbench_{code}_{digest}"
    if name not in _records:
        _records[name] = pack(
            stencil_code.Stencil,
            **foreign_call.bare_model(settings=2),
            states=box.states,
            groups=groups,
            given=given,
            margin=box.margin,
            shifts=shifts,
            inside=inside,
        )
    foreign_call.register(name, _records[name].address, _engine(code))
    return name
