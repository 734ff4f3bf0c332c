"""Quasi-steady states: a slow-fast system without its fast states.

In x' = f(x, y) / eps, y' = g(x, y) the fast states x reach an equilibrium x*(y) of f(x, y) = 0 before the slow ones
have moved. Put in their place it leaves y' = g(x*(y), y), to an error of the order of eps (Tikhonov 1952, Fenichel
1979, doi:10.1016/0022-0396(79)90152-9). `quasi_steady_state` makes that reduction of any `Ode` from the names of its
fast states, and the result is an ordinary `Ode` again. No eps has to be in the equations.

Where the fast equations are linear in the fast states, as for complexes and occupancies, or one quadratic equation, x*
is written out in closed form, so that symbols read through it. Elsewhere x* is where the fast flow leads from the fast
states of the start (`roots.settle`), differentiated by the implicit function theorem. Totals that the fast equations
conserve are kept.

Whether the reduction may be made at all is another question, which `separation` answers.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np

from ...design import Design
from ...errors import InputError, nearest
from ...system import Inputs, Ode, State, Theta
from ..conservation import conservation_laws, laws_within
from ..roots import settle
from ..sparse_lu import dependencies, structure


def quasi_steady_state(system: Ode, fast: Sequence[str]) -> Ode:
    """The system with its fast states in the equilibrium that belongs to the slow ones.

    Args:
        system: any `Ode`.
        fast: names of the fast states, some but not all.

    Returns:
        an `Ode` in the slow states, whose `algebraic` gives the fast ones, so that what observed the full system
        observes this. Where the fast equations have no equilibrium, or for a single fast state no stable one, a solve
        fails with the code `odes.NO_EQUILIBRIUM`.

    Raises:
        InputError: an empty set of names, a name twice, a name that is no state, or all states (said when the states
            are known: at the first use); a dose into a fast state.

    Example:
        >>> from forward_models.receptor_tf import model
        >>> slow = quasi_steady_state(model.system, ["x"])
        >>> p = {"eps": 1e-3, "L": 2.0, "Kd": 1.0, "beta": 1.0, "delta": 0.5}
        >>> round(float(slow.rhs(0.0, {"y": jnp.zeros(())}, p, {})["y"]), 6)
        0.666667
    """
    fast = (fast,) if isinstance(fast, str) else tuple(fast)
    if findings := _named(fast):
        raise InputError("quasi_steady_state", findings)
    equilibrium = FastEquilibrium(system, fast)
    doses = None if system.doses is None else SlowDoses(equilibrium)
    return replace(
        system, initial=SlowStart(equilibrium), rhs=SlowRates(equilibrium), doses=doses, algebraic=equilibrium
    )


def reduction(system: Ode | None) -> "FastEquilibrium | None":
    """What a system made by `quasi_steady_state` was made of, or None for all others."""
    algebraic = None if system is None else system.algebraic
    return algebraic if isinstance(algebraic, FastEquilibrium) else None


def is_implicit(system: Ode, theta: Theta, design: Design) -> bool:
    """Whether the algebraic part of a system is found by iteration, so that no formula can be read from it."""
    theta = {name: jnp.asarray(value, float) for name, value in theta.items()}

    def algebraic(theta):
        return system.algebraic(design.start, system.initial(theta, design.inputs), theta, design.inputs)

    return "while[" in str(jax.make_jaxpr(algebraic)(theta))


def split_states(names: Sequence[str], fast: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...], list[str]]:
    """Slow and fast names in the order of `names`, and what is wrong with `fast`."""
    given = (fast,) if isinstance(fast, str) else tuple(fast)
    findings = _named(given)
    findings += [f"the fast state {name!r} is no state; {nearest(name, names)}" for name in given if name not in names]
    if set(names) <= set(given):
        findings.append("every state is named as fast, so none is left to be slow.")
    slow, fast = (tuple(name for name in names if (name in given) == which) for which in (False, True))
    return slow, fast, findings


def _named(fast: tuple[str, ...]) -> list[str]:
    twice = [name for name in dict.fromkeys(fast) if fast.count(name) > 1]
    findings = [] if fast else ["no fast state is named; name those that settle first."]
    return findings + [f"the fast state {name!r} is named twice." for name in twice]


@dataclass(frozen=True)
class FastEquilibrium:
    """x*(t, y, p, inputs): fast states `full.rhs` leaves at rest while the slow ones, in `y`, are held."""

    full: Ode
    fast: tuple[str, ...]

    def __call__(self, t, y: State, p: Theta, inputs: Inputs) -> State:
        """The fast states, scalars; NaN where there is no equilibrium to be found."""
        given = (t, dict(y), p, inputs)
        laws = self.laws(y, p, inputs)

        def residual(*x):
            return self._residual(laws, x, given)

        x = _closed_form(residual, len(self.fast))
        if x is None:
            x = self._settled(FastResidual(self, laws), given)
        found = dict(zip(self.fast, x, strict=True))
        return self.full.complete(t, {**y, **found}, p, inputs) if self.full.algebraic else found

    def laws(self, y: State, p: Theta, inputs: Inputs) -> tuple[tuple[float, ...], ...]:
        """Totals that the fast equations conserve: one row of coefficients of the fast states for each."""
        names = tuple(self.full.initial(p, inputs))
        rows = conservation_laws(self.full, names, p, inputs)
        chosen = np.array([name in self.fast for name in names])
        inside = laws_within(rows, chosen)
        order = [[name for name in names if name in self.fast].index(name) for name in self.fast]
        return tuple(map(tuple, inside[:, order].tolist()))

    def _residual(self, laws, x, given) -> tuple:
        """The fast equations, those that a conserved total makes superfluous replaced by it."""
        t, y, p, inputs = given
        rates = self.full.rhs(t, {**y, **dict(zip(self.fast, x, strict=True))}, p, inputs)
        rows = [jnp.asarray(rates[name], float) for name in self.fast]
        if laws:
            start = self.full.initial(p, inputs)
            free = set(range(len(rows)))
            for law in laws:
                place = max(k for k in free if law[k])
                free.remove(place)
                excess = [c * (start[name] - x[k]) for k, (c, name) in enumerate(zip(law, self.fast, strict=True)) if c]
                # in the place of a loss, so that its sign is that of one
                rows[place] = sum(excess) if law[place] > 0 else -sum(excess)
        return tuple(rows)

    def _settled(self, residual: "FastResidual", given) -> list:
        """Where the fast flow leads from the fast states of the start."""
        _, _, p, inputs = given
        start = self.full.initial(p, inputs)
        guess = jnp.stack([jnp.asarray(start[name], float) for name in self.fast])
        x = settle(residual, guess, given, floor=self.full.atol / self.full.rtol).value
        return [x[k] for k in range(len(self.fast))]


@dataclass(frozen=True)
class FastResidual:
    """The fast equations on one row `(fast,)`, as a solver wants them."""

    equilibrium: FastEquilibrium
    laws: tuple[tuple[float, ...], ...]

    def __call__(self, x, given):
        return jnp.stack(self.equilibrium._residual(self.laws, [x[k] for k in range(len(x))], given))


@dataclass(frozen=True)
class SlowRates:
    """The right-hand side of the slow states."""

    equilibrium: FastEquilibrium

    def __call__(self, t, y, p, inputs):
        found = self.equilibrium(t, y, p, inputs)
        rates = self.equilibrium.full.rhs(t, {**y, **found}, p, inputs)
        return {name: rates[name] for name in y}


@dataclass(frozen=True)
class SlowStart:
    """Where the slow states start."""

    equilibrium: FastEquilibrium

    def __call__(self, p, inputs):
        start = self.equilibrium.full.initial(p, inputs)
        slow, _, findings = split_states(tuple(start), self.equilibrium.fast)
        if findings:
            raise InputError("quasi_steady_state", findings)
        return {name: start[name] for name in slow}


@dataclass(frozen=True)
class SlowDoses:
    """Doses, which may be given to slow states only: a fast one would have forgotten it at once."""

    equilibrium: FastEquilibrium

    def __call__(self, p, inputs):
        doses = self.equilibrium.full.doses(p, inputs)
        if wrong := [name for name in doses if name in self.equilibrium.fast]:
            raise InputError(
                "quasi_steady_state",
                [f"a dose is given to the fast state {name!r}; keep that state, or dose a slow one." for name in wrong],
            )
        return doses


def _closed_form(residual, size: int) -> list | None:
    """The root of fast equations that are linear, or of one that is quadratic, as a formula; None for all others."""
    if not any(_reads(lambda *x: _columns(residual, x), size)):
        return _eliminate(structure(lambda t, x: residual(*x), size), residual)
    if size == 1 and not any(_reads(lambda x: _columns(lambda x: _columns(residual, (x,)), (x,)), 1)):
        return [_stable_root(residual)]
    return None


def _columns(function, x) -> tuple:
    """Derivatives of all values of a function by all its arguments, one argument after the other."""
    zero, one = jnp.zeros(()), jnp.ones(())
    columns = (jax.jvp(function, x, tuple(one if i == k else zero for i in range(len(x))))[1] for k in range(len(x)))
    return tuple(value for column in columns for value in column)


def _reads(function, size: int) -> list[frozenset]:
    """Which of its arguments each value of a function depends on."""
    jaxpr = jax.make_jaxpr(function)(*[jax.ShapeDtypeStruct((), jnp.float64)] * size).jaxpr
    return dependencies(jaxpr, [frozenset([k]) for k in range(size)])


def _stable_root(residual) -> jax.Array:
    """The root of a x^2 + b x + c at which the slope is negative; a parabola has at most one."""
    zero = jnp.zeros(())
    (c,), (b,) = residual(zero), _columns(residual, (zero,))
    (curvature,) = _columns(lambda x: _columns(residual, (x,)), (zero,))
    slope = -jnp.sqrt(b**2 - 2 * curvature * c)
    x = (slope - b) / curvature
    # what the subtraction has lost, Newton's step restores
    return x - (x * (curvature * x / 2 + b) + c) / slope


def _eliminate(pattern, residual) -> list | None:
    """The root of a linear residual in closed form, by elimination; None where a pivot is missing from the pattern."""
    size = len(pattern.order)
    zeros = tuple(jnp.zeros(()) for _ in range(size))
    slopes = _columns(residual, zeros)
    # rates of loss, which are the positive ones
    entries = {(i, k): -slopes[k * size + i] for i, k in pattern.entries}
    right = list(residual(*zeros))
    for step, k in enumerate(pattern.order):
        if (k, k) not in entries:
            return None
        rest = pattern.order[step + 1 :]
        for i in rest:
            if (i, k) in entries:
                share = entries[i, k] / entries[k, k]
                right[i] = right[i] - share * right[k]
                for j in rest:
                    if (k, j) in entries:
                        update = share * entries[k, j]
                        entries[i, j] = entries[i, j] - update if (i, j) in entries else -update
    x: dict[int, jax.Array] = {}
    for step in reversed(range(size)):
        k = pattern.order[step]
        known = [entries[k, j] * x[j] for j in pattern.order[step + 1 :] if (k, j) in entries]
        x[k] = (right[k] - sum(known)) / entries[k, k] if known else right[k] / entries[k, k]
    return [x[k] for k in range(size)]
