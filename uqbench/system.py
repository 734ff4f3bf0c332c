"""The one description of the dynamics: plain JAX functions, from which numbers and symbols are both read."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array

from .annotations import Values
from .errors import InputError

# Where no absolute tolerance is given and the sizes of the states are not known.
LEAST_ATOL = 1e-10
METHODS = ("auto", "explicit", "implicit")
State = Values
Inputs = Values


class Frozen(dict):
    """What is given by name, hashable, so that a system that holds it is."""

    def __hash__(self):
        return hash(tuple(sorted(self.items())))


class AnyInput(dict):
    """Inputs of which nothing is known but that they are numbers."""

    def __missing__(self, name: str):
        return jnp.ones(())


DIRECTIONS = ("rising", "falling", "both")


@dataclass(frozen=True)
class Event:
    """A change of the states at the moment when something crosses zero; its time is found to rounding.

    An event at the time of a dose sees the states after the dose.

    Derivatives follow the time of the crossing where it is transversal (the root function has a slope along the
    trajectory); a tangential one is a result code when derivatives are asked for.

    Args:
        root: `root(t, y, p, inputs)`: a scalar; the event fires where it crosses zero.
        change: `change(t, y, p, inputs)`: state -> its value after the event (`y["A"] + 1.0` adds, `0.0` assigns);
            states that it does not name keep theirs, and one number is the value of a whole array. None: the solve
            only stops there, for a right-hand side that jumps.
        direction: "rising" (from negative to positive), "falling" or "both".

    Raises:
        InputError: an unknown direction.

    Example:
        >>> def empty(t, y, p, inputs): return y["A"] - 0.1
        >>> def refill(t, y, p, inputs): return {"A": 1.0}
        >>> Event(empty, refill, "falling").direction
        'falling'
    """

    root: Callable[[Array, State, Values, Inputs], Array]
    change: Callable[[Array, State, Values, Inputs], State] | None = None
    direction: str = "both"

    def __post_init__(self):
        if self.direction not in DIRECTIONS:
            raise InputError("Event", [f"direction {self.direction!r}; known are {', '.join(DIRECTIONS)}."])


@dataclass(frozen=True)
class Delay:
    """A state as it was some time ago, by the method of steps.

    Args:
        state: name of the state.
        delay: `delay(p, inputs)`: how long ago, positive, or a number.
        history: `history(t, p, inputs)`: the value of the state before the start; default its value at the start.

    Raises:
        InputError: a number that is not positive or not finite.

    Example:
        >>> def delay(p, inputs): return p["tau"]
        >>> Delay("A", delay).state
        'A'
    """

    state: str
    delay: Callable[[Values, Inputs], Array] | float
    history: Callable[[Array, Values, Inputs], Array] | None = None

    def __post_init__(self):
        if not callable(self.delay) and not (isinstance(self.delay, int | float) and 0 < self.delay < float("inf")):
            raise InputError("Delay", [f"the delay of {self.state!r} is {self.delay!r}; it must be positive."])

    def length(self, p: Values, inputs: Inputs) -> Array:
        return jnp.asarray(self.delay(p, inputs) if callable(self.delay) else self.delay, float)

    def before(self, t, y: State, p: Values, inputs: Inputs) -> Array:
        """The state before the start, of which `y` are the initial values."""
        return jnp.asarray(y[self.state] if self.history is None else self.history(t, p, inputs), float)


@dataclass(frozen=True)
class Ode:
    """An initial value problem y' = rhs(t, y, p, inputs), y(start) = initial(p, inputs).

    Both functions belong at module level (a fresh lambda would compile afresh) and return a dict state -> scalar or
    array. Shapes of arrays are the same for all designs. A model solves and names arrays by their entries, `u_0`,
    `u_1` ...; what is said below of a state holds for a whole array.

    Args:
        initial: `initial(p, inputs)`: the state at the start of the design.
        rhs: `rhs(t, y, p, inputs)`: its time derivative, the same names and shapes.
        rtol: local error per step, relative.
        atol: the same, absolute in the units of the states: one number for all, or state -> number. Default: what is
            small against the largest value that a state has had so far, for each state by itself, so that no unit is
            preferred.
        method: "explicit", "implicit", or "auto": while solving, whichever the time scales there ask for.
        max_steps: steps, refused ones included, between two events or observations, after which a solve is given up;
            all events together may take 100 times as many.
        max_step: longest step, in the unit of time.
        switches: `switches(p, inputs)`: times `(m,)` at which the right-hand side jumps (an infusion ends, a light is
            turned on). Solves step to them exactly; derivatives follow them where they depend on parameters.
        doses: `doses(p, inputs)`: state -> (times `(m,)`, amounts `(m,)`, of an array `(m, *shape)`) added to that
            state. One before the start of the design is passed over; an observation at the time of a dose sees the
            state before it.
        events: changes of the states where something crosses zero, see `Event`.
        start: `start(p, inputs)`: the time at which `initial` holds, where that is a parameter; default the start of
            the design. Before it the states are those of `initial`.
        algebraic: `algebraic(t, y, p, inputs)`: quantities that follow from the states at once, name -> scalar. The
            model's `observe` sees them beside the states; a quasi-steady state is one.
        delays: name -> `Delay`: `rhs`, `observe` and `algebraic` see `y[name]`, a state as it was some time ago. No
            step is longer than the shortest delay. Only the native engine solves them; not together with events.

    Example:
        >>> def initial(p, inputs): return {"C": inputs["dose"]}
        >>> def rhs(t, y, p, inputs): return {"C": -p["k"] * y["C"]}
        >>> Ode(initial, rhs).method
        'auto'
    """

    initial: Callable[[Values, Inputs], State]
    rhs: Callable[[Array, State, Values, Inputs], State]
    rtol: float = 1e-8
    atol: float | Mapping[str, float] | None = None
    method: str = "auto"
    max_steps: int = 10_000
    switches: Callable[[Values, Inputs], Array] | None = None
    doses: Callable[[Values, Inputs], dict[str, tuple[Array, Array]]] | None = None
    algebraic: Callable[[Array, State, Values, Inputs], State] | None = None
    max_step: float | None = None
    events: Sequence[Event] = ()
    start: Callable[[Values, Inputs], Array] | None = None
    delays: Mapping[str, Delay] = field(default_factory=dict)

    # whether the equations stand for a random process whose expected values they approximate
    approximates: ClassVar[bool] = False

    def __post_init__(self):
        findings = []
        if self.method not in METHODS:
            findings.append(f"method {self.method!r}; known are {', '.join(METHODS)}.")
        absolute = {f"atol of {name!r}": value for name, value in self.atol.items()} if self._atol_by_state else {}
        if self.atol is not None and not absolute:
            absolute = {"atol": self.atol}
        limits = {"max_step": self.max_step} if self.max_step is not None else {}
        findings += [
            f"{name} is {value!r}; it must be positive."
            for name, value in {"rtol": self.rtol, **absolute, **limits}.items()
            if not (isinstance(value, int | float) and value > 0)
        ]
        if not (isinstance(self.max_steps, int) and self.max_steps > 0):
            findings.append(f"max_steps is {self.max_steps!r}; it must be a positive integer.")
        if self.delays and self.events:
            findings.append("delays and events in one system; what an event changes is not followed through delays.")
        if findings:
            raise InputError("Ode", findings)
        # frozen objects are compared and hashed by what they hold
        if self._atol_by_state:
            object.__setattr__(self, "atol", Frozen(self.atol))
        object.__setattr__(self, "delays", Frozen(self.delays))
        object.__setattr__(self, "events", tuple(self.events))

    @property
    def _atol_by_state(self) -> bool:
        return isinstance(self.atol, Mapping)

    @property
    def least_atol(self) -> float:
        """One absolute tolerance for all states, for methods that know of no other."""
        if self._atol_by_state:
            return min(self.atol.values(), default=LEAST_ATOL)
        return LEAST_ATOL if self.atol is None else self.atol

    def at_rest(self, y: State) -> State:
        """The states with what delays see if nothing has moved: names and shapes for a trace, or an equilibrium."""
        return {**y, **{name: y[delay.state] for name, delay in self.delays.items()}} if self.delays else y

    def complete(self, t, y: State, p: Values, inputs: Inputs) -> State:
        """The states with the quantities that follow from them at once."""
        return y if self.algebraic is None else {**y, **self.algebraic(t, y, p, inputs)}

    @property
    def scheduled_events(self) -> tuple[Callable, ...]:
        """The functions, of those given, that give the times to which a solve has to step exactly."""
        return tuple(function for function in (self.switches, self.doses) if function is not None)
