"""Exponentials one after another, their tangents and their adjoint: by machine code where this process has an engine
for it, else by `uniformisation`."""

import hashlib
from functools import cache, lru_cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from ..native import foreign_call
from ..native.library import Library, PackedRecord, pack
from . import exponential_code
from .box import Box
from .stencil_code import Stencil
from .uniformisation import Sum, exponential, exponential_adjoint, exponential_tangents

CODE = {
    each.__name__: each for each in (exponential_code.exponentials, exponential_code.tangents, exponential_code.adjoint)
}


class Generators(NamedTuple):
    """The rates of some exponentials: fixed ones, to which those that vary with time are added.

    Args:
        fixed: `(groups, states)`, zero for the groups that vary.
        moving: `(exponentials, nodes, moving groups, states)`, at some times.
        mix: `(exponentials, nodes)`, weights of these times.
    """

    fixed: Float[Array, "groups states"]
    moving: Float[Array, "exponentials nodes moving states"]
    mix: Float[Array, "exponentials nodes"]

    def rates(self, box: Box) -> Float[Array, "exponentials groups states"]:
        mixed = jnp.einsum("en,engx->egx", self.mix, self.moving)
        return (
            jnp.broadcast_to(self.fixed, (len(self.mix), *self.fixed.shape))
            .at[:, jnp.array(box.moving, int)]
            .add(mixed)
        )


def exponentials(
    box: Box,
    generators: Generators,
    durations: Float[Array, " exponentials"],
    start: Float[Array, " states"],
    ends: Sum,
) -> tuple[Float[Array, "exponentials states"], Float[Array, " exponentials"]]:
    """The distribution after each exponential, and the products of each."""
    if foreign_call.engine_runs():
        shapes = [(len(durations), box.states), durations.shape]
        rows, products = _call("exponentials", box, [*generators, durations, start], ends, shapes)
        return rows, products

    def one(q, each):
        rates, duration = each
        q, products = exponential(box, rates, duration, q, ends)
        return q, (q, products.astype(float))

    return lax.scan(one, start, (generators.rates(box), durations))[1]


def exponential_changes(
    box: Box,
    generators: Generators,
    durations: Float[Array, " exponentials"],
    starts: Float[Array, "exponentials states"],
    d_fixed: Float[Array, "changes groups states"],
    d_moving: Float[Array, "exponentials changes nodes moving states"],
    d_start: Float[Array, "changes states"],
    ends: Sum,
) -> Float[Array, "exponentials changes states"]:
    """Changes after each exponential, with those of the rates and of the distribution before the first.

    Args:
        starts: the distribution before each.
    """
    if foreign_call.engine_runs():
        operands = [*generators, durations, starts, d_fixed, d_moving, d_start]
        return _call("tangents", box, operands, ends, [(len(durations), *d_start.shape)])[0]

    def one(dq, each):
        rates, duration, start, d_rates = each
        dq = exponential_tangents(box, rates, duration, start, d_rates, dq, ends)
        return dq, dq

    def changed(fixed, moving):
        return Generators(fixed, moving, generators.mix).rates(box)

    d_rates = jax.vmap(changed, in_axes=(0, 1), out_axes=1)(d_fixed, d_moving)
    return lax.scan(one, d_start, (generators.rates(box), durations, starts, d_rates))[1]


def exponential_derivatives(
    box: Box,
    generators: Generators,
    durations: Float[Array, " exponentials"],
    starts: Float[Array, "exponentials states"],
    read: Float[Array, "exponentials states"],
    after: Float[Array, " states"],
    ends: Sum,
) -> tuple[Array, Array, Array]:
    """Derivatives by fixed and moving rates, and by the distribution before the first exponential.

    Args:
        starts: the distribution before each.
        read, after: derivatives by the distribution after each, as far as it is read there, and by the last as far as
            it is gone on from.
    """
    if foreign_call.engine_runs():
        operands = [*generators, durations, starts, read, after]
        shapes = [generators.fixed.shape, generators.moving.shape, (box.states,)]
        fixed_bar, moving_bar, start_bar = _call("adjoint", box, operands, ends, shapes)
        return fixed_bar, moving_bar, start_bar

    def one(bar, each):
        rates, duration, start, read = each
        rates_bar, bar = exponential_adjoint(box, rates, duration, start, bar + read, ends)
        return bar, rates_bar

    rates, pull = jax.vjp(lambda generators: generators.rates(box), generators)
    start_bar, rates_bar = lax.scan(one, after, (rates, durations, starts, read), reverse=True)
    (bars,) = pull(rates_bar)
    return bars.fixed, bars.moving, start_bar


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
    digest = hashlib.sha256(
        repr((box.shape, given, box.moving)).encode() + shifts.tobytes() + inside.tobytes()
    ).hexdigest()[:32]
    name = f"uqbench_{code}_{digest}"
    if name not in _records:
        _records[name] = pack(
            Stencil,
            **foreign_call.bare_model(settings=2),
            states=box.states,
            groups=groups,
            given=given,
            margin=box.margin,
            shifts=shifts,
            inside=inside,
            count_moving=len(box.moving),
            moving=np.array([*box.moving, 0], np.int64),
        )
    foreign_call.register(name, _records[name].address, _engine(code))
    return name
