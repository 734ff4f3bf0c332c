"""States that are arrays: the system that an author writes with them, in scalars, one for each entry.

Solvers, kernels, symbols and analyses know scalar states only. An array `u` of three entries is to them the states
`u_0`, `u_1` and `u_2`, one with two axes `u_0_0`, `u_0_1` ...; the author's functions get and return arrays all the
same. What takes arrays apart and puts them together again dissolves in kernels and symbols.
"""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..annotations import Values
from ..errors import InputError
from ..system import AnyInput, Inputs, Ode, State

Shapes = dict[str, tuple[int, ...]]


def state_shapes(system: Ode, parameters: Sequence[str]) -> Shapes:
    """Shapes of the states in the author's order, before any design is known; empty where they cannot be known."""
    shapes: Shapes = {}

    def initial(p):
        # JAX itself would sort the names
        shapes.update({name: jnp.shape(value) for name, value in system.initial(p, AnyInput()).items()})

    try:
        jax.eval_shape(initial, dict.fromkeys(parameters, jax.ShapeDtypeStruct((), float)))
    except (KeyError, TypeError, IndexError, ValueError, AttributeError):
        # whatever is wrong here is reported when the system is first used with a design
        return {}
    return shapes


def in_scalars(system: Ode, parameters: Sequence[str]) -> Ode:
    """The same system with scalar states; the system itself where its states are scalars already.

    Args:
        parameters: names of those that `initial` may read.

    Returns:
        an `Ode` whose functions take and return one scalar for each entry of each array.

    Raises:
        InputError: two states would have the same name.

    Example:
        >>> def initial(p, inputs): return {"u": jnp.zeros(2), "v": 0.0}
        >>> def rhs(t, y, p, inputs): return {"u": -p["k"] * y["u"], "v": y["u"].sum()}
        >>> sorted(in_scalars(Ode(initial, rhs), ["k"]).initial({"k": 1.0}, {}))
        ['u_0', 'u_1', 'v']
    """
    shapes = state_shapes(system, parameters)
    if not any(shapes.values()):
        return system
    delayed = {name: shapes[delay.state] for name, delay in system.delays.items() if delay.state in shapes}
    states = Arrays(tuple({**delayed, **shapes}.items()))
    if findings := states.name_findings():
        raise InputError("Ode", findings)
    return _scalar_system(system, states)


def as_written(system: Ode) -> Ode:
    """The system as its author wrote it, with arrays among its states if there are any."""
    return system.rhs.system if isinstance(system.rhs, ScalarRates) else system


def observe_arrays(observe: Callable, system: Ode) -> Callable:
    """`observe` as a system that is solved in scalars needs it: what asks for arrays gets them."""
    if isinstance(observe, ObserveArrays) or not isinstance(system.rhs, ScalarRates):
        return observe
    return ObserveArrays(system.rhs.states, observe)


@dataclass(frozen=True)
class Arrays:
    """Arrays and the scalars that they consist of.

    Args:
        shapes: name and shape of each: states, and what delays see of them; or outputs.
    """

    shapes: tuple[tuple[str, tuple[int, ...]], ...]

    def entries(self, name: str) -> tuple[str, ...]:
        """Names of the scalars of one array, the last axis running fastest."""
        shape = dict(self.shapes)[name]
        return tuple("_".join([name, *map(str, index)]) for index in np.ndindex(shape))

    def scalars(self, values: Mapping) -> State:
        """One scalar for each entry of `values`; a scalar that stands for a whole array is spread."""
        shapes, scalars = dict(self.shapes), {}
        for name, value in values.items():
            if shapes.get(name, ()) == ():
                scalars[name] = value
            else:
                entries = jnp.unstack(jnp.ravel(jnp.broadcast_to(jnp.asarray(value, float), shapes[name])))
                scalars |= zip(self.entries(name), entries, strict=True)
        return scalars

    def arrays(self, y: State) -> State:
        """The states as the author has them, with whatever else is in `y`."""
        found: dict[str, Array] = {}
        taken: set[str] = set()
        for name, shape in self.shapes:
            entries = self.entries(name)
            if shape != () and entries[0] in y:
                found[name] = jnp.stack([jnp.asarray(y[entry], float) for entry in entries]).reshape(shape)
                taken.update(entries)
        return {name: value for name, value in y.items() if name not in taken} | found

    def name_findings(self) -> list[str]:
        """Entries that would have the name of another array or entry, and arrays without entries."""
        owners: dict[str, list[str]] = {}
        for name, _ in self.shapes:
            for entry in self.entries(name):
                owners.setdefault(entry, []).append(name)
        findings = [
            f"an entry of the array {owned[0]!r} is solved under the name {entry!r}, which {owned[1]!r} has too; "
            "rename one of them."
            for entry, owned in owners.items()
            if len(owned) > 1
        ]
        empty = [f"the array {name!r} has the shape {shape}, with no entry." for name, shape in self.shapes
                 if math.prod(shape) == 0]  # fmt: skip
        return findings + empty


def _scalar_system(system: Ode, states: Arrays) -> Ode:
    shapes = dict(states.shapes)

    def each(name):
        """The entries of a state, or the name itself where there is no such state, which is then reported."""
        return states.entries(name) if name in shapes else (name,)

    atol = system.atol
    if isinstance(atol, Mapping):
        atol = {entry: value for name, value in atol.items() for entry in each(name)}
    delays = {
        late: replace(
            delay, state=now, history=delay.history and HistoryEntry(delay.history, shapes[delay.state], place)
        )
        for name, delay in system.delays.items()
        for place, (late, now) in enumerate(zip(each(name), each(delay.state), strict=True))
    }
    events = tuple(
        replace(
            event,
            root=OfArrays(states, event.root),
            change=event.change and ScalarChange(states, event.change),
        )
        for event in system.events
    )
    return replace(
        system,
        initial=ScalarStart(states, system.initial),
        rhs=ScalarRates(states, system),
        algebraic=system.algebraic and OfArrays(states, system.algebraic),
        doses=system.doses and ScalarDoses(states, system.doses),
        atol=atol,
        delays=delays,
        events=events,
    )


# The author's functions on scalars. They are compared by what they hold, so that a system is compiled once.


@dataclass(frozen=True)
class ScalarStart:
    """`initial` in scalars."""

    states: Arrays
    function: Callable

    def __call__(self, p: Values, inputs: Inputs) -> State:
        return self.states.scalars(self.function(p, inputs))


@dataclass(frozen=True)
class ScalarRates:
    """`rhs` in scalars, of the system as it was written."""

    states: Arrays
    system: Ode

    def __call__(self, t, y: State, p: Values, inputs: Inputs) -> State:
        return self.states.scalars(self.system.rhs(t, self.states.arrays(y), p, inputs))


@dataclass(frozen=True)
class ScalarChange:
    """`change` of an event in scalars."""

    states: Arrays
    function: Callable

    def __call__(self, t, y: State, p: Values, inputs: Inputs) -> State:
        return self.states.scalars(self.function(t, self.states.arrays(y), p, inputs))


@dataclass(frozen=True)
class ScalarDoses:
    """`doses` in scalars; all entries of an array share one row of times."""

    states: Arrays
    function: Callable

    def __call__(self, p: Values, inputs: Inputs) -> dict[str, tuple[Array, Array]]:
        doses, shapes = {}, dict(self.states.shapes)
        for name, (times, amounts) in self.function(p, inputs).items():
            if shapes.get(name, ()) == ():
                doses[name] = (times, amounts)
            else:
                columns = jnp.reshape(jnp.asarray(amounts, float), (*jnp.shape(times), -1))
                entries = jnp.unstack(columns, axis=-1)
                doses |= {
                    each: (times, column) for each, column in zip(self.states.entries(name), entries, strict=True)
                }
        return doses


@dataclass(frozen=True)
class OfArrays:
    """A function that reads the states and returns none: the root of an event, quantities that follow at once."""

    states: Arrays
    function: Callable

    def __call__(self, t, y: State, p: Values, inputs: Inputs):
        return self.function(t, self.states.arrays(y), p, inputs)


@dataclass(frozen=True)
class HistoryEntry:
    """One entry of the history of an array."""

    function: Callable
    shape: tuple[int, ...]
    place: int

    def __call__(self, t, p: Values, inputs: Inputs) -> Array:
        whole = jnp.broadcast_to(jnp.asarray(self.function(t, p, inputs), float), self.shape)
        return jnp.unstack(jnp.ravel(whole))[self.place]


@dataclass(frozen=True)
class ObserveArrays:
    """`observe` of arrays, from scalars."""

    states: Arrays
    function: Callable

    def __call__(self, y: State, p: Values, **more):
        return self.function(self.states.arrays(y), p, **more)

    @property
    def __signature__(self) -> inspect.Signature:
        """That of the function: `observe` is given what it asks for by name."""
        return inspect.signature(self.function)
