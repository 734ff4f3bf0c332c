"""All parts of a coupled model as one system of differential equations, which is what windows of no length come to."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

from ..annotations import Values
from .equations import Coupling, Equations, Given
from .parts import Exchange, Part


class Joint:
    """Initial states, rates and outputs of all parts together, with what has crossed and been supplied as states.

    Args:
        observed: `observed(equations, t, z, start, given)` -> outputs, of the coupled model.
        inputs: of the design.
    """

    def __init__(self, parts: Mapping[str, Part], exchanges: Mapping[str, Exchange], observed, inputs: Values):
        self.parts, self.exchanges, self.observed, self.inputs = dict(parts), dict(exchanges), observed, inputs

    def initial(self, p: Values, inputs: Values) -> dict[str, Array]:
        given = _given(p, inputs)
        return named(self._equations(given, 0.0).start(given, 0.0))

    def rhs(self, t, y: Values, p: Values, inputs: Values) -> dict[str, Array]:
        given = _given(p, inputs)
        equations = self._equations(given, t)
        field = equations.joint((*self.parts,), (*self.exchanges,))
        return named(field(t, self._parted(equations, y, given), given))

    def observe(self, y: Values, p: Values) -> Values:
        given = _given(p, self.inputs)
        equations = self._equations(given, 0.0)
        z, start = self._parted(equations, y, given), equations.start(given, 0.0)
        return self.observed(equations, 0.0, z, start, given)

    def _equations(self, given: Given, t) -> Equations:
        return Equations.of(self.parts, self.exchanges, given, jnp.asarray(t, float))

    def _parted(self, equations: Equations, y: Values, given: Given) -> Coupling:
        """The coupled state of states by name."""
        start = equations.start(given, 0.0)
        return {
            "states": {name: {state: y[state] for state in own} for name, own in start["states"].items()},
            "crossed": {name: y[f"crossed_{name}"] for name in start["crossed"]},
            "supplied": {
                name: {quantity: y[f"supplied_{name}_{quantity}"] for quantity in own}
                for name, own in start["supplied"].items()
            },
        }


def named(z: Coupling) -> dict[str, Array]:
    """The coupled state as states by name."""
    found: dict[str, Any] = {state: value for y in z["states"].values() for state, value in y.items()}
    found |= {f"crossed_{name}": value for name, value in z["crossed"].items()}
    supplied = z["supplied"].items()
    return found | {f"supplied_{name}_{quantity}": value for name, own in supplied for quantity, value in own.items()}


def _given(p: Values, inputs: Values) -> Given:
    held: dict[str, Any] = dict(inputs)
    return Given({name: jnp.asarray(value) for name, value in p.items()}, held)
