"""The states of a truncated master equation: a box of counts, in one flat array, and the reactions as shifts of it.

A reaction that changes the counts by `change` moves the probability of every state by the same number of places of the
flat array, so that the generator is a few shifted arrays (a stencil) and no sparse matrix. What would leave the box, or
come back into it at another row, has the rate zero there; what leaves is lost from the sum of probabilities.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..annotations import AnyArray

# rates(t, counts) -> one rate for each reaction: JAX of one state, `t` and each count a scalar
Rates = Callable[..., tuple]


@dataclass(frozen=True, eq=False)
class Box:
    """States 0..shape[i]-1 of each species, and the reactions grouped by what they change.

    Args:
        shape: states of each species.
        shifts: of each group, places in the flat array by which it moves probability.
        members: of each group, the reactions in it.
        inside: `(groups, states)`, whether a reaction of the group, from that state, stays in the box.
        moving: the groups whose rates vary with time.
    """

    shape: tuple[int, ...]
    shifts: tuple[int, ...]
    members: tuple[tuple[int, ...], ...]
    inside: np.ndarray
    moving: tuple[int, ...] = ()

    @property
    def states(self) -> int:
        return math.prod(self.shape)

    @property
    def margin(self) -> int:
        return max((abs(shift) for shift in self.shifts), default=0)

    def counts(self) -> tuple[np.ndarray, ...]:
        """Counts of each species in every state, `(states,)` each."""
        return tuple(axis.ravel().astype(float) for axis in np.indices(self.shape))

    def grouped(self, rates: Float[Array, "reactions states"]) -> Float[Array, "groups states"]:
        """Sums over the reactions that change the counts alike."""
        return self.of_groups(dict(enumerate(rates)), range(len(self.members)))

    def of_groups(
        self, rates: Mapping[int, Float[Array, " states"]], groups: Sequence[int]
    ) -> Float[Array, "some states"]:
        """The same for some of the groups."""
        if not groups:
            return jnp.zeros((0, self.states))
        return jnp.stack([sum(rates[r] for r in self.members[g]) for g in groups])


def box_of(changes: AnyArray, shape: tuple[int, ...]) -> Box:
    """The box and the moves in it.

    Args:
        changes: `(reactions, species)` integers; reactions that change nothing are left out.
    """
    changes = np.asarray(changes, dtype=int).reshape(-1, len(shape))
    strides = np.array([math.prod(shape[k + 1 :]) for k in range(len(shape))])
    counts = np.indices(shape).reshape(len(shape), -1)
    groups: dict[tuple[int, ...], list[int]] = {}
    for reaction, change in enumerate(changes):
        if change.any():
            groups.setdefault(tuple(change.tolist()), []).append(reaction)
    upper = np.array(shape)[:, None]
    after = [counts + np.array(change)[:, None] for change in groups]
    inside = [np.all((each >= 0) & (each < upper), axis=0) for each in after]
    return Box(
        shape=tuple(shape),
        # a change larger than the box leaves it from every state
        shifts=tuple(
            int(np.dot(change, strides)) if stays.any() else 0 for change, stays in zip(groups, inside, strict=True)
        ),
        members=tuple(map(tuple, groups.values())),
        inside=np.array(inside).reshape(len(groups), -1),
    )


def each_rate(rates: Rates, t, counts: tuple[AnyArray, ...], reactions: int) -> tuple[Float[Array, " states"], ...]:
    """The rate of each reaction in all states, as the author's function gives them."""
    found = jax.vmap(lambda state: tuple(jnp.asarray(rate, float) for rate in rates(t, state)))(tuple(counts))
    if len(found) != reactions:
        raise ValueError(f"`rates` returns {len(found)} rates, and `changes` has {reactions} reactions")
    return found


def rates_of_states(rates: Rates, t, counts: tuple[AnyArray, ...], reactions: int) -> Float[Array, "reactions states"]:
    """All of them."""
    found = each_rate(rates, t, counts, reactions)
    return jnp.stack(found) if found else jnp.zeros((0, len(counts[0])))


def sound(values: Array) -> tuple[Array, Array]:
    """Rates with zeros where they are negative or no numbers, and the states `(states,)` in which one is so."""
    good = jnp.isfinite(values) & (values >= 0)
    return jnp.where(good, values, 0.0), jnp.any(~good, axis=0)
