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
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from ..annotations import Values
from ..design import Design
from ..dynamics.conservation import conservation_laws, laws_within
from ..errors import InputError, nearest
from ..initial_value.given import stacked
from ..solvers.roots import settle, solve
from ..solvers.sparse_lu import dependencies
from ..system import Inputs, Ode, State

# Real parts of eigenvalues are known to this, relative to the largest.
UNSTABLE = 1e-15
# What makes a function one thing here and another there, so that no formula at one point speaks for all.
DECISIONS = (
    *("lt", "le", "gt", "ge", "eq", "ne", "abs", "max", "min", "sign", "floor", "ceil", "round", "clamp", "rem"),
    *("argmax", "argmin", "reduce_max", "reduce_min", "sort", "cond", "while", "scan"),
)


def quasi_steady_state(system: Ode, fast: Sequence[str]) -> Ode:
    """The system with its fast states in the equilibrium that belongs to the slow ones.

    Args:
        system: any `Ode`.
        fast: names of the fast states, some but not all.

    Returns:
        an `Ode` in the slow states, whose `algebraic` gives the fast ones, so that what observed the full system
        observes this. Where the fast equations have no equilibrium, or at a time of the design an unstable one, a
        solve fails with the code `Result.NO_EQUILIBRIUM`.

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


def is_implicit(system: Ode, theta: Values, design: Design) -> bool:
    """Whether the algebraic part of a system is found by iteration, so that no formula can be read from it."""
    theta = {name: jnp.asarray(value, float) for name, value in theta.items()}

    def algebraic(theta):
        return system.algebraic(design.start, system.initial(theta, design.inputs), theta, design.inputs)

    return "while" in _primitives(jax.make_jaxpr(algebraic)(theta))


def _primitives(jaxpr: Jaxpr | ClosedJaxpr) -> set[str]:
    """Names of all primitives of a traced function, those inside loops, branches and calls too."""
    found = {equation.primitive.name for equation in jaxpr.eqns}
    for equation in jaxpr.eqns:
        inner = [leaf for leaf in jax.tree.leaves(equation.params) if isinstance(leaf, Jaxpr | ClosedJaxpr)]
        found |= set().union(*map(_primitives, inner))
    return found


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
    """x*(t, y, p, inputs): fast states that `full.rhs` leaves at rest while the slow ones, in `y`, are held."""

    full: Ode
    fast: tuple[str, ...]

    def __call__(self, t, y: State, p: Values, inputs: Inputs) -> State:
        """The fast states, scalars; NaN where there is no equilibrium to be found."""
        given = (t, dict(y), p, inputs)
        rates = self.rates(p, inputs)
        found = rates.states(self._rest(rates, given), given)
        if self.full.algebraic is None:
            return found
        return found | self.full.algebraic(t, {**y, **found}, p, inputs)

    def rates(self, p: Values, inputs: Inputs) -> "FastRates":
        """The fast equations, those that conserved totals make superfluous left out."""
        names = tuple(self.full.initial(p, inputs))
        chosen = np.array([name in self.fast for name in names])
        laws = laws_within(conservation_laws(self.full, names, p, inputs), chosen)
        # each law gives one state, of those that no other law knows
        alone = (laws != 0) & (np.sum(laws != 0, axis=0) == 1)
        dependent = tuple(int(np.argmax(np.abs(row) * only)) for row, only in zip(laws, alone, strict=True))
        return FastRates(self, tuple(n for n in names if n in self.fast), tuple(map(tuple, laws.tolist())), dependent)

    def stable(self, t, y: State, p: Values, inputs: Inputs):
        """Whether the fast states would come back to x*, by the eigenvalues of their equations.

        A single one has no value where it would not, and is not looked at again.
        """
        rates, given = self.rates(p, inputs), (t, dict(y), p, inputs)
        if len(rates.independent) < 2:
            return jnp.asarray(True)
        rest = self(t, y, p, inputs)
        x = jnp.stack([rest[name] for name in rates.independent])
        slopes = jax.jacfwd(rates)(x, given)
        known = jnp.all(jnp.isfinite(slopes))
        spectrum = jnp.linalg.eigvals(jnp.where(known, slopes, -jnp.eye(len(x))))
        # where one is nothing but rounding, the equilibrium is not isolated
        return known & jnp.all(spectrum.real < -UNSTABLE * jnp.abs(spectrum).max())

    def _rest(self, rates: "FastRates", given) -> list:
        """Values of the independent fast states at rest."""
        size = len(rates.independent)
        if not size:
            return []

        def residual(*x):
            return rates.rows(x, given)

        x = _closed_form(residual, size)
        if x is not None:
            return x
        _, _, p, inputs = given
        start = self.full.initial(p, inputs)
        guess = stacked(start, rates.independent)
        x = settle(rates, guess, given, floor=self.full.least_atol / self.full.rtol).value
        return [x[k] for k in range(size)]


@dataclass(frozen=True)
class FastRates:
    """The fast equations as functions of the fast states that are free to move.

    Args:
        names: of all fast states, in the order of the columns of `laws`.
        laws: totals that the fast equations conserve, one row of coefficients each.
        dependent: column of the state that each law gives.
    """

    equilibrium: FastEquilibrium
    names: tuple[str, ...]
    laws: tuple[tuple[float, ...], ...]
    dependent: tuple[int, ...]

    @property
    def independent(self) -> tuple[str, ...]:
        return tuple(name for k, name in enumerate(self.names) if k not in self.dependent)

    def states(self, x, given) -> State:
        """All fast states from the independent ones; the totals are those of the start."""
        _, _, p, inputs = given
        found = dict(zip(self.independent, x, strict=True))
        if self.laws:
            start = self.equilibrium.full.initial(p, inputs)
            for law, place in zip(self.laws, self.dependent, strict=True):
                others = [k for k, c in enumerate(law) if c and k != place]
                excess = [law[k] / law[place] * (start[self.names[k]] - found[self.names[k]]) for k in others]
                found[self.names[place]] = start[self.names[place]] + sum(excess)
        return {name: found[name] for name in self.equilibrium.fast}

    def rows(self, x, given) -> tuple:
        """Rates of the independent fast states, from their values."""
        t, y, p, inputs = given
        rates = self.equilibrium.full.rhs(t, {**y, **self.states(x, given)}, p, inputs)
        return tuple(jnp.asarray(rates[name], float) for name in self.independent)

    def __call__(self, x, given):
        """The same on one row `(independent,)`, as a solver wants it."""
        return jnp.stack(self.rows([x[k] for k in range(len(x))], given))


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
    zeros = tuple(jnp.zeros(()) for _ in range(size))
    scalar = jax.ShapeDtypeStruct((), jnp.float64)
    if _decides(jax.make_jaxpr(residual)(*[scalar] * size).jaxpr, [True] * size):
        return None
    if not any(_reads(lambda *x: _columns(residual, x), size)):
        slopes = jnp.stack(_columns(residual, zeros)).reshape(size, size).T
        x = linear_root(slopes, jnp.stack(residual(*zeros)))
        return [x[k] for k in range(size)]
    if size == 1 and not any(_reads(lambda x: _columns(lambda x: _columns(residual, (x,)), (x,)), 1)):
        (c,), (b,) = residual(*zeros), _columns(residual, zeros)
        (curvature,) = _columns(lambda x: _columns(residual, (x,)), zeros)
        return [stable_root(curvature / 2, b, c)]
    return None


def _decides(jaxpr, reads: list[bool]) -> bool:
    """Whether a traced function goes different ways for different values of the arguments marked in `reads`."""
    known = dict(zip(jaxpr.invars, reads, strict=True))
    for equation in jaxpr.eqns:
        given = [known.get(v, False) if not isinstance(v, Literal) else False for v in equation.invars]
        inner = equation.params.get("jaxpr") or equation.params.get("call_jaxpr")
        name = equation.primitive.name
        if any(given) and name in DECISIONS:
            return True
        if name in ("jit", "pjit", "custom_jvp_call", "closed_call") and _decides(
            getattr(inner, "jaxpr", inner), given
        ):
            return True
        known.update(dict.fromkeys(equation.outvars, any(given)))
    return False


def _columns(function, x) -> tuple:
    """Derivatives of all values of a function by all its arguments, one argument after the other."""
    zero, one = jnp.zeros(()), jnp.ones(())
    columns = (jax.jvp(function, x, tuple(one if i == k else zero for i in range(len(x))))[1] for k in range(len(x)))
    return tuple(value for column in columns for value in column)


def _reads(function, size: int) -> list[frozenset]:
    """Which of its arguments each value of a function depends on."""
    jaxpr = jax.make_jaxpr(function)(*[jax.ShapeDtypeStruct((), jnp.float64)] * size).jaxpr
    return dependencies(jaxpr, [frozenset([k]) for k in range(size)])


# Symbols know the following two by their names and put the formula in their place, which has no branches.


@jax.jit
def linear_root(slopes, rates):
    """The root `(n,)` of rates + slopes x; NaN where a single one is not stable."""
    if len(rates) == 1:
        return jnp.where(slopes[0] < 0, -rates / slopes[0], jnp.nan)
    return -solve(slopes, rates)


@jax.jit
def stable_root(a, b, c):
    """The root of a x^2 + b x + c at which the slope is negative, of which there is one at most; NaN where none is."""
    steepness = jnp.sqrt(b**2 - 4 * a * c)
    # each form where it subtracts nothing from its like
    falling = b <= 0
    low = 2 * c / jnp.where(falling, steepness - b, 1.0)
    high = -(b + steepness) / jnp.where(falling, 1.0, 2 * a)
    return jnp.where(steepness > 0, jnp.where(falling, low, high), jnp.nan)
