"""Memory: what a slow system keeps of the fast one that is no longer in its equations.

With slow states y and fast ones x, both linear,

    y' = A y + B x + b_y,     x' = C y + D x + b_x,

the fast states can be solved for once and for all. What is left is exact, and has only y in it:

    y'(t) = A y(t) + int_0^t K(s) y(t - s) ds + f(t),     K(s) = B e^(D s) C,

the Mori-Zwanzig form (Zwanzig 1961, Mori 1965; Chorin, Hald & Kupferman 2000, doi:10.1073/pnas.97.7.2968). The past
acts through the memory kernel K, the start of the fast states and their sources through f, "noise" to whoever does not
know them. How much of it to keep is a ladder: `memoryless` lets the past act at once (the quasi-steady state), an error
of the order of eps; `first_order` corrects for how long it takes; and as K is a sum of exponentials (a Prony series), a
few auxiliary states carry it exactly (`embedding`). Where rates coincide there may be no exponentials to sum; the fast
states are then split into blocks that stay together (`invariant_blocks`).
"""

from collections.abc import Sequence
from functools import cached_property, partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...annotations import Values
from ...design import Design
from ...errors import InputError
from ...initial_value.given import checked, stacked
from ...initial_value.odes import problem_of
from ...solvers.sparse_lu import dependencies, structure
from ...system import Inputs, Ode
from ...systems.reduced import split_states
from .invariant_blocks import LARGEST_CONDITION, Block, invariant_bases
from .matrix_exponential import Affine, exponentials
from .series import Prony, series_of


class MemoryKernel(eqx.Module):
    """A linear slow-fast system as its slow states see it; times in the unit of the system.

    Args:
        A, B, C, D: slopes of the slow rates by slow and fast states, and of the fast ones.
        source_slow, source_fast: rates at the origin. start_slow, start_fast: the initial state.
        slow, fast: names. system: of which this is, for the tolerances.
    """

    A: Float[Array, "slow slow"]
    B: Float[Array, "slow fast"]
    C: Float[Array, "fast slow"]
    D: Float[Array, "fast fast"]
    source_slow: Float[Array, " slow"]
    source_fast: Float[Array, " fast"]
    start_slow: Float[Array, " slow"]
    start_fast: Float[Array, " fast"]
    slow: tuple[str, ...] = eqx.field(static=True)
    fast: tuple[str, ...] = eqx.field(static=True)
    system: Ode = eqx.field(static=True)

    def kernel(self, lags) -> Float[Array, "lags slow slow"]:
        """K(s) at the lags `(lags,)`, per time squared; traceable."""
        return self.B @ exponentials(self.D, lags) @ self.C

    def forcing(self, times) -> Float[Array, "times slow"]:
        """f(t) at the times after the start `(times,)`: what the start and the sources of the fast states add to y'."""
        return self.source_slow + Affine(self.D, self.source_fast, self.start_fast).at(times) @ self.B.T

    @property
    def memory_time(self) -> Float[Array, ""]:
        """Time over which the slowest fast direction falls to 1/e; traceable."""
        return -1.0 / jnp.max(jnp.linalg.eigvals(self.D).real)

    @property
    def memoryless(self) -> Float[Array, "slow slow"]:
        """A - B D^-1 C: the kernel acts at once, with all its weight."""
        return self.A - self.B @ jnp.linalg.solve(self.D, self.C)

    @property
    def delay(self) -> Float[Array, "slow slow"]:
        """B D^-2 C, the first moment of the kernel: int K(s) y(t-s) ds = (int K) y(t) - delay y'(t) + ..."""
        return self.B @ jnp.linalg.solve(self.D, jnp.linalg.solve(self.D, self.C))

    def full(self) -> Affine:
        """Slow and fast states together, as they were."""
        matrix = jnp.block([[self.A, self.B], [self.C, self.D]])
        return Affine(
            matrix, jnp.append(self.source_slow, self.source_fast), jnp.append(self.start_slow, self.start_fast)
        )

    def quasi_steady(self) -> Affine:
        """The slow states alone, without memory: right to an error of the order of eps."""
        source = self.source_slow - self.B @ jnp.linalg.solve(self.D, self.source_fast)
        return Affine(self.memoryless, source, self.start_slow)

    def first_order(self) -> Affine:
        """The slow states alone, with the memory expanded to first order: right to the order of eps^2.

        (1 + delay) y' = memoryless y + source, from a start that has taken the slip of the initial layer.
        """
        plain, inertia = self.quasi_steady(), jnp.eye(len(self.slow)) + self.delay
        rest = self.start_fast + jnp.linalg.solve(self.D, self.C @ self.start_slow + self.source_fast)
        start = self.start_slow - self.B @ jnp.linalg.solve(self.D, rest)
        return Affine(jnp.linalg.solve(inertia, plain.matrix), jnp.linalg.solve(inertia, plain.source), start)

    def accelerated(self, eps) -> "MemoryKernel":
        """The same with the fast rates divided by `eps`."""
        parts = (self.C / eps, self.D / eps, self.source_fast / eps)
        return eqx.tree_at(lambda kernel: (kernel.C, kernel.D, kernel.source_fast), self, parts)

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """The fast states in the fewest directions that have to stay together, those first that cost most to leave out.

        Found on the host, from numbers.
        """
        parts = [np.asarray(part) for part in (self.D, self.B, self.C, self.source_fast, self.start_fast)]
        D, B, C, source, start = parts
        found = [
            Block(dual @ D @ basis, B @ basis, dual @ C, dual @ source, dual @ start)
            for basis, dual in invariant_bases(D)
        ]
        return tuple(sorted(found, key=lambda block: -block.lag()))

    @cached_property
    def modes(self) -> Prony:
        """K(s) as a sum of exponentials, complex ones in pairs.

        Raises:
            InputError: rates so close together that the sum does not exist, or only with coefficients that cancel.
        """
        rates, residues, findings = [], [], []
        for block in self.blocks:
            values, vectors = np.linalg.eig(block.matrix)
            if np.linalg.cond(vectors) > LARGEST_CONDITION:
                findings.append(
                    f"the fast rates {', '.join(f'{value:.4g}' for value in values)} are too close to be distinguished "
                    "as exponentials; use `blocks`, `kernel` or `embedding`, which keep them together."
                )
                continue
            left, right = block.outward @ vectors, np.linalg.solve(vectors, block.inward)
            rates += [*values]
            residues += [np.outer(left[:, k], right[k]) for k in range(block.size)]
        if findings:
            raise InputError("modes", findings)
        lags = np.linspace(0.0, 5.0, 64) * float(self.memory_time)
        return series_of(rates, residues, lags, np.asarray(self.kernel(lags)))


def memory_kernel(system: Ode, fast: Sequence[str], theta: Values, inputs: Inputs) -> MemoryKernel:
    """The memory that a linear system's slow states have of themselves through its fast ones.

    That the right-hand side is linear is read from its traced slopes, which may not depend on a state. Under a trace
    the matrices are differentiable; that the fast states are stable is then not checked.

    Args:
        system: linear in its states (a constant source is allowed), without time in its right-hand side.
        fast: names of the fast states, some but not all.
        theta: every parameter, scalars. inputs: what the experimenter sets.

    Returns:
        the kernel with its reductions; its matrices are exact, its exponentials good to about 1e-13 of their largest.

    Raises:
        InputError: parameters missing or no scalars; then with everything that is wrong: names, a schedule, use of
            time, a product of states, fast states that grow when the slow ones are held.

    Example:
        >>> from forward_models.receptor_tf import model
        >>> theta = {"eps": 0.1, "L": 2.0, "Kd": 1.0, "beta": 1.0, "delta": 0.5}
        >>> kernel = memory_kernel(model.system, ["x"], theta, {})
        >>> round(float(kernel.memory_time), 6)
        0.033333
    """
    theta, inputs, names = checked("memory_kernel", system, theta, inputs)
    slow, fast, findings = split_states(names, fast)
    if system.scheduled_events:
        findings.append(
            "the system has a schedule, which a kernel does not know of; leave it out with dataclasses.replace(system, "
            "doses=None, switches=None)."
        )
    findings += _linearity_findings(system, names, theta, inputs)
    if findings:
        raise InputError("memory_kernel", findings)
    order = tuple(map(names.index, slow + fast))
    matrix, source, start = _expansion(system, names, order, theta, inputs)
    cut = len(slow)
    D = matrix[cut:, cut:]
    if not isinstance(D, jax.core.Tracer):
        _check_stable(np.asarray(D))
    return MemoryKernel(
        matrix[:cut, :cut], matrix[:cut, cut:], matrix[cut:, :cut], D,
        source[:cut], source[cut:], start[:cut], start[cut:], slow, fast, system,
    )  # fmt: skip


@partial(jax.jit, static_argnums=(0, 1, 2))
def _expansion(system, names, order, theta, inputs):
    """Slopes `(n, n)` and rates `(n,)` at the origin, and the start `(n,)`, states in the `order` of their places."""

    def rates(y):
        return stacked(system.rhs(jnp.zeros(()), dict(zip(names, y, strict=True)), theta, inputs), names)

    origin, start, order = jnp.zeros(len(names)), system.initial(theta, inputs), np.array(order)
    matrix = jax.jacfwd(rates)(origin)[order][:, order]
    return matrix, rates(origin)[order], stacked(start, names)[order]


def _linearity_findings(system: Ode, names: tuple[str, ...], theta: Values, inputs: Inputs) -> list[str]:
    size, scalar = len(names), jax.ShapeDtypeStruct((), jnp.float64)
    with jax.ensure_compile_time_eval():
        design = Design([0.0], dict.fromkeys(inputs, 0.0))
    design = eqx.tree_at(lambda design: design.inputs, design, inputs)
    rhs = problem_of(system, names, (theta, design)).rhs
    findings = []
    if structure(rhs, size).uses_time:
        findings.append("the right-hand side uses the time, so no one kernel describes it; give constant conditions.")

    def slopes(*y):
        columns = []
        for k in range(size):

            def along(yk, k=k):
                return rhs(jnp.zeros(()), [*y[:k], yk, *y[k + 1 :]])

            columns.append(jax.jvp(along, (y[k],), (jnp.ones(()),))[1])
        return columns

    read = dependencies(jax.make_jaxpr(slopes)(*[scalar] * size).jaxpr, [frozenset([name]) for name in names])
    for place, states in enumerate(read):
        if states:
            column, row = divmod(place, size)
            findings.append(
                f"the rate of {names[row]!r} is not linear: its slope by {names[column]!r} depends on "
                f"{', '.join(map(repr, sorted(states)))}; linearise the system around a state, or keep it nonlinear "
                "and use `quasi_steady_state`."
            )
    return findings


def _check_stable(D: np.ndarray) -> None:
    rates = np.linalg.eigvals(D) if np.all(np.isfinite(D)) else np.array([np.nan])
    if not np.all(rates.real < 0):
        worst = rates[np.argmax(rates.real)]
        raise InputError(
            "memory_kernel",
            [
                f"the fast states do not settle while the slow ones are held: they have the rate {worst:.4g}, and the "
                "kernel would not decay. Count the state that does not settle among the slow ones."
            ],
        )
