"""A coupled run, window after window; and beside it, where wanted, the same run in halves of these windows."""

from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jax import lax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from ..errors import Result
from .chebyshev import Loop, loop
from .equations import Coupling, Equations, Given, added
from .linearisation import Described
from .schedules import RATES_NOT_FINITE, Schedule

# Windows between two observations after which a run is given up.
MOST_WINDOWS = 10_000_000


class Run(NamedTuple):
    """States `(times, n)` as they are packed, the code, and how often the parts were solved."""

    rows: Float[Array, "times n"]
    code: Array
    solves: Array


class Scheduled(Described, Protocol):
    """Parts and exchanges under a schedule."""

    @property
    def schedule(self) -> Schedule: ...

    @property
    def is_random(self) -> bool: ...


class _Progress(NamedTuple):
    """The packed state, what rounding has lost of it, what the schedule remembers, the code and solves so far."""

    flat: Array
    lost: Array
    memory: Any
    code: Array
    solves: Array


def run_through(systems: tuple[Scheduled, ...], known, kind: Loop = "lax", *, first: int = 1) -> tuple[Run, ...]:
    """Runs of one system in finer and finer windows; traceable, differentiable in the mode that the loops have.

    Args:
        systems: the first decides on the windows, of which each next takes twice as many parts as the one before; what
            chance does at their start is what it does to the first.
        known: parameters and inputs, the start, the times, and data of a key or None.
        first: parts that the first takes of a window, each as long as its step.
    """
    given, start, times, stream = known
    steppers = [_Stepper(each, first * 2**place, given, start, kind) for place, each in enumerate(systems)]
    step = first * systems[0].schedule.step

    def onward(state, until):
        begin, progress, passed = state
        gap = until - begin
        # a quotient of 10.000000000000002 is ten windows
        count = jnp.ceil(gap / step - 1e-9)
        code = progress[0].code
        code = jnp.where((code == 0) & (count > MOST_WINDOWS), Result.STEP_LIMIT, code)
        progress = (progress[0]._replace(code=code), *progress[1:])
        h = gap / jnp.maximum(count, 1)

        def window(carried):
            number, progress, _ = carried
            t, leap = begin + number * h, None
            if systems[0].is_random:
                key = jax.random.fold_in(jax.random.wrap_key_data(stream), passed + number.astype(int))
                leap = steppers[0].leap(t, h, progress[0], key)
            progress = tuple(stepper.through(t, h, one, leap) for stepper, one in zip(steppers, progress, strict=True))
            return number + 1, progress, (number + 1 < count) & (progress[0].code == 0)

        begun = (jnp.zeros(()), progress, (count > 0) & (code == 0))
        done, progress, _ = loop(kind, lambda carried: carried[-1], window, begun)
        passed = passed + lax.stop_gradient(done).astype(int)
        return (until, progress, passed), tuple(one.flat for one in progress)

    carried = (start, tuple(stepper.begin() for stepper in steppers), jnp.asarray(0))
    (_, progress, _), rows = lax.scan(onward, carried, times)
    return tuple(
        Run(states, stepper.reason(times[-1], one), one.solves)
        for stepper, one, states in zip(steppers, progress, rows, strict=True)
    )


class _Stepper:
    """One system through windows, each in so many parts."""

    def __init__(self, system: Scheduled, halves: int, given: Given, start, kind: Loop):
        self.equations = Equations.of(system.parts, system.exchanges, given, start, kind)
        self.schedule, self.halves, self.given, self.start = system.schedule, halves, given, start
        self.first: Coupling = self.equations.start(given, start)
        self.flat, self.unravel = ravel_pytree(self.first)

    def begin(self) -> _Progress:
        code = jnp.where(jnp.all(jnp.isfinite(self.flat)), Result.SUCCESS, Result.BAD_START)
        memory = self.schedule.memory(self.equations, self.start, self.first, self.given)
        return _Progress(self.flat, jnp.zeros_like(self.flat), memory, code, jnp.asarray(0))

    def leap(self, t, h, progress: _Progress, key) -> Array:
        """What chance changes the packed state by."""
        return ravel_pytree(self.equations.leaps(t, h, self.unravel(progress.flat), self.given, key))[0]

    def through(self, t, h, progress: _Progress, leap) -> _Progress:
        """A window later."""
        flat, lost, memory, code, solves = progress
        begun = flat
        z, lacking = self.unravel(flat if leap is None else flat + leap), self.unravel(lost)
        length = h / self.halves
        for half in range(self.halves):
            after = self.schedule.advance(self.equations, t + half * length, length, z, memory, self.given)
            z, lacking = added(z, after.change, lacking)
            memory, solves = after.memory, solves + after.solves
            code = jnp.where(code == 0, after.code, code)
        flat, lost = ravel_pytree(z)[0], ravel_pytree(lacking)[0]
        sound = jnp.all(jnp.isfinite(flat))
        code = jnp.where((code == 0) & ~sound, Result.BLOW_UP, code)
        # what a window could not go on from is kept, to say why
        return _Progress(jnp.where(sound, flat, begun), lost, memory, code, solves)

    def reason(self, t, progress: _Progress) -> Array:
        """The code, of a run that has failed with rates that are no numbers that of these."""
        field = self.equations.joint((*self.equations.parts,), (*self.equations.exchanges,))
        rates = ravel_pytree(field(t, self.unravel(progress.flat), self.given))[0]
        return jnp.where((progress.code != 0) & ~jnp.all(jnp.isfinite(rates)), RATES_NOT_FINITE, progress.code)
