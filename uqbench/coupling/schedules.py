"""In which order parts are solved, and how often: the schedules of coupled models.

A schedule advances the state of all parts by one window. `Weak` solves every part once; `Strong` repeats that until
what parts have seen of one another is what they are; `WaveformRelaxation` does so with whole paths over long windows;
`Monolithic` solves all parts as one system; `Splitting` lets parts flow in turn.

What a strong coupling converges to is differentiated by the implicit function theorem, not through its iterations.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array

from ..errors import FIRST_OWN, InputError, Result
from .acceleration import Acceleration, Aitken, Anderson, FixedPoint, QuasiNewton, Relaxation, fixed_point
from .equations import Coupling, Equations, Given, Interface, Layout
from .implicit import as_fixed_point
from .integrators import INTEGRATORS
from .parts import step_findings

NOT_COUPLED = FIRST_OWN
NOT_SOLVED = FIRST_OWN + 1
RATES_NOT_FINITE = FIRST_OWN + 2
NOT_RESOLVED = FIRST_OWN + 3
CODES = {
    NOT_COUPLED: "the strong coupling did not converge within `max_iterations` in a window: the parts disagree about "
    "what they see of one another. `uqbench.coupling.stability` says at which rate each schedule converges; take an "
    "acceleration that does, or a shorter step.",
    NOT_SOLVED: "a step of a part could not be solved: Newton's method did not converge. Take a shorter step of the "
    "part or of the schedule, or check its rates at these values.",
    RATES_NOT_FINITE: "rates of a part, or of an exchange, were no finite numbers. A foreign function that has failed "
    "is one reason: `uqbench.umbridge.recent_failures()` has its words.",
    NOT_RESOLVED: "windows, or steps of parts, are too long: with half their length states differ by more than the "
    "`tolerance` of the Coupled system. Take a shorter step of the schedule, a step or a method of second order "
    "(`sdirk2`) for parts, or allow more.",
}
# Entries of an interface below this share of the largest of its kind count as that much.
LEAST_SHARE = 1e-4


class Advanced(NamedTuple):
    """The change in a window, what the schedule remembers, the code, and how often the parts were solved."""

    change: Coupling
    memory: Any
    code: Array
    solves: Array


@dataclass(frozen=True)
class Schedule:
    """How the state of all parts is advanced by one window.

    Args:
        step: longest window, in the unit of time; windows between two observations are equal.
    """

    step: float

    def __post_init__(self):
        if findings := self.findings():
            raise InputError(type(self).__name__, findings)

    def findings(self) -> list[str]:
        """What is wrong with the settings."""
        return step_findings("step", self.step)

    def layout(self) -> Layout:
        """Of windows in which parts are solved by themselves."""
        return Layout(1, False)

    def counts(self, equations: Equations) -> dict[str, int]:
        """Steps of each part between two nodes of a window."""
        length = self.step / self.layout().nodes
        return {name: part.steps(length) for name, part in equations.parts.items()}

    def memory(self, equations: Equations, t, z: Coupling, given: Given) -> Any:
        """What the first window remembers."""
        return ()

    def advance(self, equations: Equations, t, h, z: Coupling, memory, given: Given) -> Advanced:
        """One window of the length h, at most `step`; traceable, differentiable in forward mode."""
        raise NotImplementedError


def _solved(solved) -> Array:
    return jnp.where(solved, Result.SUCCESS, NOT_SOLVED)


@dataclass(frozen=True)
class Weak(Schedule):
    """Every part is solved once in each window, with what it knows of the others.

    Args:
        concurrent: all parts at once, with the others as they were at the start of the window; else one after another
            (staggered), in the order of the parts, each with those before it as they are at the end.
    """

    concurrent: bool = False

    def layout(self) -> Layout:
        return Layout(1, self.concurrent)

    def advance(self, equations: Equations, t, h, z: Coupling, memory, given: Given) -> Advanced:
        interface = equations.frozen(t, z, h, given, self.layout())
        window = equations.window(interface, t, z, h, given, self.counts(equations), self.layout())
        return Advanced(window.change, memory, _solved(window.solved), jnp.asarray(1))


@dataclass(frozen=True)
class Strong(Schedule):
    """The parts are solved until what they have seen of one another is what they are at the end of the window.

    Args:
        acceleration: `Relaxation`, `Aitken`, `Anderson` or `QuasiNewton`.
        concurrent: whether all parts are solved at once (Jacobi), else one after another (Gauss-Seidel).
        tolerance: of what is seen, relative to the largest value of its kind.
        max_iterations: solves of all parts in a window after which it is given up.
        nodes: intervals of a window between which what parts see is linear in time.
    """

    acceleration: Acceleration = field(default_factory=QuasiNewton)
    concurrent: bool = False
    tolerance: float = 1e-11
    max_iterations: int = 50
    nodes: int = 1

    def findings(self) -> list[str]:
        findings = super().findings()
        findings += [
            f"{name} is {value!r}; it must be a positive integer."
            for name, value in (("max_iterations", self.max_iterations), ("nodes", self.nodes))
            if not (isinstance(value, int) and value > 0)
        ]
        if not 0 < self.tolerance < 1:
            findings.append(f"tolerance is {self.tolerance!r}; it must be between 0 and 1.")
        if not isinstance(self.acceleration, Acceleration):
            findings.append(f"acceleration is {self.acceleration!r}; give Relaxation, Aitken, Anderson or QuasiNewton.")
        return findings

    def layout(self) -> Layout:
        return Layout(self.nodes, self.concurrent)

    def memory(self, equations: Equations, t, z: Coupling, given: Given) -> Any:
        interface = equations.frozen(t, z, jnp.asarray(self.step), given, self.layout())
        return self.acceleration.memory(ravel_pytree(interface)[0].size)

    def advance(self, equations: Equations, t, h, z: Coupling, memory, given: Given) -> Advanced:
        seen = self.seen(equations, t, h, z, memory, given)
        x = seen.reached.x
        if x.size:
            x = as_fixed_point(seen.again, (t, z, h, given), x, equations.kind)
        window = equations.window(seen.unravel(x), t, z, h, given, self.counts(equations), self.layout())
        code = jnp.where(seen.reached.converged, _solved(window.solved), NOT_COUPLED)
        return Advanced(window.change, seen.reached.memory, code, seen.reached.solves)

    def seen(self, equations: Equations, t, h, z: Coupling, memory, given: Given) -> "Seen":
        """What parts see of one another in a window, iterated to its fixed point, without derivatives."""
        counts, still = self.counts(equations), lax.stop_gradient((t, z, h, given))
        interface = lax.stop_gradient(equations.frozen(t, z, h, given, self.layout()))
        first, unravel = ravel_pytree(interface)

        def again(x, known=still):
            t, z, h, given = known
            return ravel_pytree(equations.window(unravel(x), t, z, h, given, counts, self.layout()).found)[0]

        def sizes(x):
            found = ravel_pytree(equations.sizes(still[1], still[3], interface, unravel(x)))[0]
            found = jnp.maximum(found, LEAST_SHARE * jnp.max(found))
            return jnp.where((found > 0) & jnp.isfinite(found), found, 1.0)

        how, limits = self.acceleration, (self.tolerance, self.max_iterations)
        memory = memory if how.reuse else how.memory(first.size)
        # where parts see nothing of one another there is nothing to iterate
        reached = FixedPoint(first, jnp.asarray(True), jnp.asarray(1), jnp.zeros(()), memory)
        if first.size:
            reached = fixed_point(again, first, how, memory, *limits, sizes)
        return Seen(first, reached, again, unravel)


class Seen(NamedTuple):
    """What parts see at first `(n,)` and in the end, as a function of what they have seen, and as an `Interface`."""

    first: Array
    reached: FixedPoint
    again: Callable[..., Array]
    unravel: Callable[[Array], Interface]


@dataclass(frozen=True)
class WaveformRelaxation(Strong):
    """`Strong` over long windows: parts are solved for whole paths, which they exchange at `nodes` equal times.

    Lelarasmee, Ruehli & Sangiovanni-Vincentelli 1982, doi:10.1109/TCAD.1982.1270004.
    """

    nodes: int = 8


@dataclass(frozen=True)
class Monolithic(Schedule):
    """All parts as one system, stepped by one method.

    Args:
        integrator: one of `INTEGRATORS`; the parts' own methods and steps do not matter.
    """

    integrator: str = "implicit_euler"

    def findings(self) -> list[str]:
        known = self.integrator in INTEGRATORS
        more = [] if known else [f"integrator {self.integrator!r}; known are {', '.join(INTEGRATORS)}."]
        return super().findings() + more

    def advance(self, equations: Equations, t, h, z: Coupling, memory, given: Given) -> Advanced:
        field = equations.joint((*equations.parts,), (*equations.exchanges,))
        change, solved = equations.flow(field, self.integrator, t, z, h, 1, given)
        return Advanced(change, memory, _solved(solved), jnp.asarray(1))


@dataclass(frozen=True)
class Splitting(Schedule):
    """Parts flow in turn, each with the exchanges that leave it, while what belongs to the others stands still.

    Args:
        order: 1 (Lie: each once) or 2 (Strang: each for half the window, and again in reverse order). The order is
            reached where the parts' own methods have it. Strang 1968, doi:10.1137/0705041.
    """

    order: int = 2

    def findings(self) -> list[str]:
        return super().findings() + ([] if self.order in (1, 2) else [f"order is {self.order!r}; it is 1 or 2."])

    def advance(self, equations: Equations, t, h, z: Coupling, memory, given: Given) -> Advanced:
        forward, counts = [*equations.parts], self.counts(equations)
        # a part that begins another half where it has ended one goes on with its own time
        turns = [(name, t, h) for name in forward]
        if self.order == 2:
            turns = [(name, t, h / 2) for name in forward] + [(name, t + h / 2, h / 2) for name in reversed(forward)]
        change, sound = jax.tree.map(jnp.zeros_like, z), jnp.asarray(True)
        for name, begin, length in turns:
            leaving = [each for each, e in equations.exchanges.items() if e.source.part == name]
            field, method = equations.joint((name,), leaving), equations.parts[name].integrator
            now = jax.tree.map(jnp.add, z, change)
            more, solved = equations.flow(field, method, begin, now, length, counts[name], given)
            change, sound = jax.tree.map(jnp.add, change, more), sound & solved
        return Advanced(change, memory, _solved(sound), jnp.asarray(len(turns)))


def described(schedule: Schedule) -> str:
    """A schedule in words: its kind, its settings that are yes or no, its acceleration, and its step."""
    words = [name for field in fields(schedule) if getattr(schedule, name := field.name) is True]
    accelerated = [type(how).__name__] if (how := getattr(schedule, "acceleration", None)) is not None else []
    return ", ".join([type(schedule).__name__, *words, *accelerated, f"step {schedule.step:g}"])


def standard_schedules(step: float, *, alone: bool = False) -> Mapping[str, Schedule]:
    """Schedules to choose from, those that cost least first; `alone`: those that solve each part by itself."""
    every = {
        "weak, concurrent": Weak(step, concurrent=True),
        "weak, sequential": Weak(step),
        "Lie splitting": Splitting(step, order=1),
        "Strang splitting": Splitting(step),
        "strong, plain": Strong(step, Relaxation()),
        "strong, Aitken": Strong(step, Aitken()),
        "strong, Anderson": Strong(step, Anderson()),
        "strong, quasi-Newton": Strong(step, QuasiNewton()),
        "monolithic": Monolithic(step),
    }
    return {name: each for name, each in every.items() if not alone or isinstance(each, Weak | Strong)}
