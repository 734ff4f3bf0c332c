"""Outputs under several names, so that the measurements of each may have noise of their own."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..distributions import Distribution
from ..initial_value.array_states import ObserveArrays
from ..space import Space
from ..systems import Simulator

if TYPE_CHECKING:
    from .description import Model


@dataclass(frozen=True)
class Copied:
    """`observe` with copies of some of its outputs; of a simulator's own outputs where it is None."""

    observe: Callable | None
    copies: tuple[tuple[str, str], ...]

    @property
    def __signature__(self) -> inspect.Signature:
        # what `observe` asks for
        return inspect.signature(self.observe or (lambda y, p: y))

    def __call__(self, y, p, **asked):
        found = y if self.observe is None else self.observe(y, p, **asked)
        return {**found, **{copy: found[output] for copy, output in self.copies}}


def copies_findings(model: "Model") -> list[str]:
    """Why outputs of a model cannot be copied; empty where they can."""
    if model.observe is not None or isinstance(model.system, Simulator):
        return []
    return [f"outputs that {model.dynamics.kind} gives by itself have one noise each; give the model an `observe`."]


def with_copies(
    model: "Model",
    copies: Mapping[str, str],
    *,
    space: Space,
    noise: Mapping[str, Distribution],
    nominal: Mapping[str, float],
) -> "Model":
    """The model with outputs under more names.

    Args:
        copies: name -> output of which it is another name.
        space, noise, nominal: of the model that is made.
    """
    pairs = tuple(copies.items())
    if isinstance(model.observe, ObserveArrays):
        observe: Callable = replace(model.observe, function=Copied(model.observe.function, pairs))
    else:
        observe = Copied(model.observe, pairs)

    def more(given: Mapping) -> dict:
        return {**given, **{copy: given[output] for copy, output in pairs if output in given}}

    increments = (*model.increments, *(copy for copy, output in pairs if output in model.increments))
    return replace(
        model,
        space=space,
        observe=observe,
        units=more(model.units),
        dims=more(model.dims),
        noise=noise,
        increments=increments,
        nominal=nominal,
    )
