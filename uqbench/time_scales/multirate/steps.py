"""Multirate steps: large explicit steps for the slow states, and the fast ones solved between them.

In y' = g(t, y, x), x' = f(t, y, x) one solver for all has to evaluate g as often as the fast states demand. Here the
slow rates are evaluated at a few stages of a macro step; between two stages the slow states advance along the
polynomial that those values define, and the fast states are solved with them, adaptively and implicitly, by
`odes.solve` itself. Two methods:

- "mri": multirate infinitesimal, order 3. Three stages, the method of Heun underneath, with couplings that change
  linearly in time (MRI-GARK-ERK33a of Sandu 2019, doi:10.1137/18M1205492; the idea is of Knoth & Wolke 1998).
- "strang": half a step of the fast states at held slow ones, a step of the slow ones at held fast ones by the explicit
  midpoint rule, again half a step (Strang 1968, doi:10.1137/0705041), order 2.

Both orders hold for a step short against the fast time; for what happens beyond, see `multirate`. Whether any of this
pays is another question, which `work_precision` answers: where the fast states merely settle, an implicit solver of all
states takes long steps too and wins; where they keep oscillating and the slow ones feel little of it, multirate wins.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from numbers import Real

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from ...annotations import Values
from ...design import Design
from ...errors import InputError, Result, nearest
from ...initial_value import odes
from ...initial_value.given import checked
from ...system import Ode, State
from ...systems.reduced import split_states

# Row i says how the slow rates of stages 0..i push the slow states on the way from stage i to i + 1: constant part, and
# part that grows linearly from 0 to 1 on that way.
CONSTANT = ((1 / 3, 0.0, 0.0), (-1 / 3, 2 / 3, 0.0), (0.0, -2 / 3, 1.0))
LINEAR = ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0), (1 / 2, 0.0, -1 / 2))
# Order, and evaluations of the slow rates for each macro step.
ORDERS = {"mri": 3, "strang": 2}
EVALUATIONS = {"mri": 3, "strang": 2}


class Multirate(eqx.Module):
    """States at the design's times and what they cost.

    Args:
        states: name -> `(times,)`; NaN everywhere where `result` is not 0.
        error: name -> `(times,)`, estimate of their errors from steps twice as long, by Richardson's extrapolation at
            the method's order; an estimate, not a bound, and too small where the order is not reached.
        result: a code of `RESULTS`.
        slow_evaluations: of the slow rates for the states; half as many again went into the estimate.
        fast_steps: steps of the fast solves.
    """

    states: dict[str, Float[Array, " times"]]
    error: dict[str, Float[Array, " times"]]
    result: Int[Array, ""]
    slow_evaluations: int = eqx.field(static=True)
    fast_steps: Int[Array, ""]


def multirate(
    system: Ode, fast: Sequence[str], theta: Values, design: Design, *, step: float, method: str = "mri"
) -> Multirate:
    """Solves a slow-fast system with few evaluations of its slow rates.

    Traceable in `theta` and differentiable in forward mode; new values of parameters and inputs, other steps, and as
    many other times, reuse the compiled solve. The fast states are solved to the tolerances of the system, implicitly.

    What eps does to the order, measured with fast states that follow the slow ones within eps, and steps H. From a
    start in the fast equilibrium "mri" has order 3 for H below eps and for H far beyond it, but about 2 between, at H
    of some eps; "strang" falls from 2 to 1 as soon as H exceeds eps. From a start out of equilibrium and H beyond eps
    both have order 1, with an error of about H times what the initial layer changes in the slow rates, however small
    eps is: put some times of the design into the layer. The error estimate trusts the order; where it is 1, it is too
    small by 7 for "mri" and 3 for "strang". Fast oscillations that do not die out and that the slow rates feel have to
    be resolved by the steps.

    Args:
        fast: names of the fast states, some but not all.
        design: times, finite; macro steps land on them.
        step: longest macro step, in the time unit.
        method: "mri" or "strang".

    Raises:
        InputError: parameters missing or no scalars; then with everything that is wrong: names of states, the step,
            the method, a schedule, infinite times.

    Example:
        >>> from forward_models.receptor_tf import model
        >>> theta = {"eps": 0.1, "L": 2.0, "Kd": 1.0, "beta": 1.0, "delta": 0.5}
        >>> run = multirate(model.system, ["x"], theta, Design([5.0]), step=0.05)
        >>> round(float(run.states["y"][0]), 5), run.slow_evaluations
        (1.222, 300)
    """
    theta, names, slow, fast = separated("multirate", system, fast, theta, design, [step], method)
    split, given, times = Split(system, slow, fast, method), (theta, design.inputs), np.asarray(design.times)
    counts = _half_counts(design, step)
    begins = np.concatenate([[float(design.start)], times[:-1]])
    fine, result, steps = _march(split, given, begins, times, 2 * counts)
    coarse, other, _ = _march(split, given, begins, times, counts)
    result = jnp.where(result == Result.SUCCESS, other, result)
    good, shrink = result == Result.SUCCESS, 2.0 ** ORDERS[method] - 1
    states = {name: jnp.where(good, fine[name], jnp.nan) for name in names}
    error = {name: jnp.abs(states[name] - coarse[name]) / shrink for name in names}
    return Multirate(states, error, result, EVALUATIONS[method] * int(2 * counts.sum()), steps)


def separated(
    subject: str, system: Ode, fast: Sequence[str], theta: Values, design: Design, steps: Sequence, method: str
) -> tuple[Values, tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """The parameters as arrays, and all, slow and fast names; or an error that says everything that is wrong."""
    theta, _, names = checked(subject, system, theta, design.inputs)
    times = np.asarray(design.times)
    slow, fast, findings = split_states(names, fast)
    if times.ndim != 1 or not times.size or not np.all(np.isfinite(times)):
        findings.append("the design has no times, or such that are not finite; give one row of finite times.")
    else:
        findings += _step_findings(steps, times[-1] - float(design.start))
    if method not in ORDERS:
        findings.append(f"method {method!r}; {nearest(method, [*ORDERS])}")
    if system.scheduled_events:
        findings.append(
            "the system has a schedule, at which macro steps would have to stop; solve the parts between its times one "
            "after the other, with dataclasses.replace(system, doses=None, switches=None)."
        )
    if findings:
        raise InputError(subject, findings)
    return theta, names, slow, fast


def _step_findings(steps: Sequence, span: float) -> list[str]:
    findings = []
    for step in steps:
        if np.shape(step) or not isinstance(step, Real | jax.Array):
            findings.append(f"the step is {step!r}; it must be one number.")
        elif not step > 0:
            findings.append(f"the step is {step}; it must be positive.")
        elif step > span > 0:
            findings.append(f"the step {step:g} is longer than the whole interval {span:g}; give a fraction of it.")
    return findings


def _half_counts(design: Design, step: float) -> np.ndarray:
    """Half the macro steps before each of the times `(times,)`, so that their number is even and none is too long."""
    gaps = np.diff(np.asarray(design.times), prepend=float(design.start))
    # a gap of so many steps, but for rounding, takes just that many
    return np.ceil(gaps / (2 * step) * (1 - 1e-12)).astype(int)


@dataclass(frozen=True)
class Split:
    """A system with its states split, and the method to step it."""

    system: Ode
    slow: tuple[str, ...]
    fast: tuple[str, ...]
    method: str

    def slow_rates(self, t, states: State, given) -> State:
        """Rates of the slow states alone."""
        rates = self.system.rhs(t, states, *given)
        return {name: jnp.asarray(rates[name], float) for name in self.slow}

    def settle(self, t, length, states: State, given, constant: State, linear: State):
        """All states after `length`, the slow ones at the fraction s of it being y + constant s + linear s^2 / 2, the
        fast ones solved; code and steps of the solve.
        """
        theta, inputs = given
        way = {"theta": theta, "states": states, "constant": constant, "linear": linear, "t": t, "length": length}
        template = _design(tuple(inputs))
        design = jax.tree.unflatten(template, jax.tree.leaves((jnp.stack([t + length]), inputs, t)))
        inner = FastPart(self.system, self.slow, self.fast)
        fast = Ode(
            inner.initial, inner.rhs, self.system.rtol, self.system.least_atol, "implicit", self.system.max_steps
        )
        found = odes.solve(fast, way, design, method="implicit")
        after = inner.slow_states(1.0, way) | {name: found.states[name][0] for name in self.fast}
        return after, found.result, found.steps

    def mri(self, t, length, states: State, given):
        """One macro step of the multirate infinitesimal method: states, codes and steps of its fast solves."""

        # a loop, so that the fast solve is compiled once for the three stages
        def stage(carry, row):
            states, rates = carry
            k, constant, linear = row
            at = t + k * length / 3
            slope, here = self.slow_rates(at, states, given), jnp.arange(3) == k
            rates = {name: jnp.where(here, slope[name], rates[name]) for name in self.slow}
            pushes = [
                {name: length * jnp.sum(weights * rates[name]) for name in self.slow} for weights in (constant, linear)
            ]
            states, code, steps = self.settle(at, length / 3, states, given, *pushes)
            return (states, rates), (code, steps)

        rates = {name: jnp.zeros(3) for name in self.slow}
        rows = (jnp.arange(3), jnp.array(CONSTANT), jnp.array(LINEAR))
        (states, _), (codes, steps) = lax.scan(stage, (states, rates), rows)
        return states, codes, steps

    def strang(self, t, length, states: State, given):
        """One macro step of Strang's splitting, as `mri`."""
        still = {name: jnp.zeros(()) for name in self.slow}
        states, first, before = self.settle(t, length / 2, states, given, still, still)
        slope = self.slow_rates(t, states, given)
        middle = states | {name: states[name] + length / 2 * slope[name] for name in self.slow}
        slope = self.slow_rates(t + length / 2, middle, given)
        states = states | {name: states[name] + length * slope[name] for name in self.slow}
        states, second, after = self.settle(t + length / 2, length / 2, states, given, still, still)
        return states, jnp.stack([first, second]), jnp.stack([before, after])


@dataclass(frozen=True)
class FastPart:
    """The fast states as a system of their own; what the slow ones do on the way comes with the parameters."""

    system: Ode
    slow: tuple[str, ...]
    fast: tuple[str, ...]

    def slow_states(self, share, way) -> State:
        """The slow states at a share of the way."""
        return {
            name: way["states"][name] + share * (way["constant"][name] + 0.5 * share * way["linear"][name])
            for name in self.slow
        }

    def initial(self, way, inputs) -> State:
        return {name: way["states"][name] for name in self.fast}

    def rhs(self, t, y: State, way, inputs) -> State:
        # the slow rates are in here too, but as nobody asks for them the compiler leaves them out
        states = self.slow_states((t - way["t"]) / way["length"], way) | y
        rates = self.system.rhs(t, states, way["theta"], inputs)
        return {name: rates[name] for name in self.fast}


def _design(inputs: tuple[str, ...]):
    with jax.ensure_compile_time_eval():
        return jax.tree.structure(Design([0.0], dict.fromkeys(inputs, 0.0)))


@partial(jax.jit, static_argnums=0)
def _march(split: Split, given, begins, ends, counts) -> tuple[dict[str, Array], Array, Array]:
    """States after `counts` macro steps from each of `begins` to each of `ends` `(times,)`, the first code other than
    0, and the fast steps. The counts are numbers to the compiled code, not shapes, so that another end or another step
    does not compile afresh.
    """

    def to_time(carry, gap):
        begin, end, count = gap
        length = (end - begin) / jnp.maximum(count, 1)

        def macro(k, carry):
            states, result, total = carry
            states, codes, steps = getattr(split, split.method)(begin + k * length, length, states, given)
            first = codes[jnp.argmax(codes != Result.SUCCESS)]
            return states, jnp.where(result == Result.SUCCESS, first, result), total + jnp.sum(steps)

        carry = lax.fori_loop(0, count, macro, carry)
        return carry, carry[0]

    initial = split.system.initial(*given)
    start = {name: jnp.asarray(initial[name], float) for name in split.slow + split.fast}
    carry = (start, jnp.asarray(Result.SUCCESS), jnp.asarray(0))
    (_, result, steps), rows = lax.scan(to_time, carry, (begins, ends, counts))
    finite = jnp.all(jnp.stack([jnp.all(jnp.isfinite(row)) for row in rows.values()]))
    return rows, jnp.where((result == Result.SUCCESS) & ~finite, Result.BLOW_UP, result), steps
