"""The one description of the dynamics: plain JAX functions, from which numbers and symbols are both read."""

from collections.abc import Callable
from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array

from .errors import InputError

METHODS = ("auto", "explicit", "implicit")
State = dict[str, Array]
Theta = dict[str, Array]
Inputs = dict[str, Array]


class AnyInput(dict):
    """Inputs of which nothing is known but that they are numbers."""

    def __missing__(self, name: str):
        return jnp.ones(())


@dataclass(frozen=True)
class Ode:
    """An initial value problem y' = rhs(t, y, p, inputs), y(start) = initial(p, inputs).

    Both functions belong at module level (a fresh lambda would compile afresh) and return a dict state -> scalar.

    Args:
        initial: `initial(p, inputs)`: the state at the start of the design.
        rhs: `rhs(t, y, p, inputs)`: its time derivative, the same names.
        rtol, atol: local error per step, relative and absolute in the units of the states.
        method: "explicit", "implicit", or "auto": implicit where an explicit method would be held to tiny steps by the
            fastest time scale at the nominal parameters (numerical stiffness).
        max_steps: steps, refused ones included, after which a solve is given up.
        switches: `switches(p, inputs)`: times `(m,)` at which the right-hand side jumps (an infusion ends, a light is
            turned on). Solves step to them exactly; derivatives follow them where they depend on parameters.
        doses: `doses(p, inputs)`: state -> (times `(m,)`, amounts `(m,)`) added to that state. One before the start of
            the design is passed over; an observation at the time of a dose sees the state before it.
        algebraic: `algebraic(t, y, p, inputs)`: quantities that follow from the states at once, name -> scalar. The
            model's `observe` sees them beside the states; a quasi-steady state is one.

    Example:
        >>> def initial(p, inputs): return {"C": inputs["dose"]}
        >>> def rhs(t, y, p, inputs): return {"C": -p["k"] * y["C"]}
        >>> Ode(initial, rhs).method
        'auto'
    """

    initial: Callable[[Theta, Inputs], State]
    rhs: Callable[[Array, State, Theta, Inputs], State]
    rtol: float = 1e-8
    atol: float = 1e-10
    method: str = "auto"
    max_steps: int = 10_000
    switches: Callable[[Theta, Inputs], Array] | None = None
    doses: Callable[[Theta, Inputs], dict[str, tuple[Array, Array]]] | None = None
    algebraic: Callable[[Array, State, Theta, Inputs], State] | None = None

    def __post_init__(self):
        findings = []
        if self.method not in METHODS:
            findings.append(f"method {self.method!r}; known are {', '.join(METHODS)}.")
        findings += [
            f"{name} is {value}; it must be positive."
            for name, value in (("rtol", self.rtol), ("atol", self.atol))
            if not value > 0
        ]
        if not (isinstance(self.max_steps, int) and self.max_steps > 0):
            findings.append(f"max_steps is {self.max_steps!r}; it must be a positive integer.")
        if findings:
            raise InputError("Ode", findings)

    def complete(self, t, y: State, p: Theta, inputs: Inputs) -> State:
        """The states with the quantities that follow from them at once."""
        return y if self.algebraic is None else {**y, **self.algebraic(t, y, p, inputs)}

    @property
    def stops(self) -> tuple[Callable, ...]:
        """The functions, of those given, that say when a solve has to stop."""
        return tuple(function for function in (self.switches, self.doses) if function is not None)
