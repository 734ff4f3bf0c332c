"""Memory: what a slow system keeps of the fast one that is no longer in its equations.

With slow states y and fast ones x, both linear,

    y' = A y + B x + b_y,     x' = C y + D x + b_x,

the fast states can be solved for once and for all. What is left is exact, and has only y in it:

    y'(t) = A y(t) + int_0^t K(s) y(t - s) ds + f(t),     K(s) = B e^(D s) C,

the Mori-Zwanzig form (Zwanzig 1961, Mori 1965; Chorin, Hald & Kupferman 2000, doi:10.1073/pnas.97.7.2968). The past
acts through the memory kernel K, the start of the fast states and their sources through f, "noise" to whoever does not
know them. How much of it to keep is a ladder: `memoryless` lets the past act at once (the quasi-steady state), an error
of the order of eps; `first_order` corrects for how long it takes; and as K is a sum of exponentials (a Prony series), a
few auxiliary states carry it exactly (`embedding`).

Where rates coincide there may be no exponentials to sum, only t^k e^(-r t): the fast states are then split into blocks
that stay together, each with its own orthonormal basis, as far as that can be done without losing digits.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
import xarray as xr
from jax import lax
from jaxtyping import Array, Float

from ..design import Design
from ..errors import InputError
from ..system import Inputs, Ode, Theta
from .multirate import split_states
from .odes import problem_of
from .sparse_lu import dependencies, structure

# Bases worse conditioned than this cost more digits than the 1e-10 that an embedding is good to.
LARGEST_CONDITION = 1e4
# Halvings of a matrix before its exponential, for times up to 1e19 of the fastest scale (NaN beyond), and terms of its
# series, for a norm of 1/2.
HALVINGS, TAYLOR = 64, 15
# Sweeps that bring units which differ by 1e12 within a factor of two.
BALANCING_SWEEPS = 32


class Affine(eqx.Module):
    """u' = matrix u + source from u(0) = start, the size of each `(n, n)`, `(n,)`, `(n,)`."""

    matrix: Float[Array, "n n"]
    source: Float[Array, " n"]
    start: Float[Array, " n"]

    def at(self, times) -> Float[Array, "times n"]:
        """The states after the times `(times,)`, by the matrix exponential: no step, no tolerance."""
        size = len(self.start)
        bordered = jnp.zeros((size + 1, size + 1)).at[:size].set(jnp.column_stack([self.matrix, self.source]))
        return (_exponentials(bordered, times) @ jnp.append(self.start, 1.0))[:, :size]


@dataclass(frozen=True, eq=False)
class Block:
    """Fast directions z that stay together: z' = matrix z + inward y + source, and y' gains outward z.

    One direction is an exponential, two may be a complex pair; more belong to rates too close to be told apart.

    Args:
        matrix: `(size, size)`. outward: `(slow, size)`. inward: `(size, slow)`. source, start: `(size,)`.
    """

    matrix: np.ndarray
    outward: np.ndarray
    inward: np.ndarray
    source: np.ndarray
    start: np.ndarray

    @property
    def size(self) -> int:
        """Auxiliary states that it takes."""
        return len(self.start)

    def weight(self) -> float:
        """Integral over all lags of the norm of its part of the kernel."""
        return self._integral(self.inward)

    def lag(self) -> float:
        """Integral over all lags of what of the kernel is still to come: the price of acting at once, for each unit
        of y'."""
        return self._integral(np.linalg.solve(self.matrix, self.inward))

    def slip(self, start_slow) -> float:
        """Integral of what its distance from the quasi-steady state at the start adds to y'."""
        rest = self.start + np.linalg.solve(self.matrix, self.inward @ start_slow + self.source)
        return self._integral(rest[:, None])

    def _integral(self, right) -> float:
        """Integral of the norm (largest row sum) of outward e^(matrix s) right, by quadrature."""
        if not self.size:
            return 0.0
        lags, weights = _quadrature(np.linalg.eigvals(self.matrix))
        values = self.outward @ scipy.linalg.expm(self.matrix * lags[:, None, None]) @ right
        return float(weights @ np.abs(values).sum(axis=-1).max(axis=-1))


@dataclass(frozen=True)
class Prony:
    """A kernel as a sum of exponentials, K(s) = sum_k residues_k e^(rates_k s).

    Args:
        rates: `(modes,)`, complex, per time. residues: `(modes, ...)`, complex, the shape of the kernel's values.
        residual: largest difference to the values that it stands for, relative to the largest of these.
    """

    rates: np.ndarray
    residues: np.ndarray
    residual: float

    def __call__(self, lags) -> np.ndarray:
        """Values of the kernel `(lags, ...)`."""
        return _sum_of_exponentials(self.rates, self.residues, lags)


def _sum_of_exponentials(rates, residues, lags) -> np.ndarray:
    return np.tensordot(np.exp(np.multiply.outer(np.asarray(lags), rates)), residues, axes=1).real


def _series(rates, residues, lags, values) -> Prony:
    rates, residues = np.array(rates, complex), np.array(residues, complex)
    misfit = np.abs(_sum_of_exponentials(rates, residues, lags) - values).max()
    return Prony(rates, residues, float(misfit / max(np.abs(values).max(), 1e-300)))


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
        return self.B @ _exponentials(self.D, lags) @ self.C

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
            for basis, dual in _invariant_bases(D)
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
                    f"the fast rates {', '.join(f'{value:.4g}' for value in values)} are too close to be told apart as "
                    "exponentials; use `blocks`, `kernel` or `embedding`, which keep them together."
                )
                continue
            left, right = block.outward @ vectors, np.linalg.solve(vectors, block.inward)
            rates += [*values]
            residues += [np.outer(left[:, k], right[k]) for k in range(block.size)]
        if findings:
            raise InputError("modes", findings)
        lags = np.linspace(0.0, 5.0, 64) * float(self.memory_time)
        return _series(rates, residues, lags, np.asarray(self.kernel(lags)))


def memory_kernel(system: Ode, fast: Sequence[str], theta: Theta, inputs: Inputs) -> MemoryKernel:
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
        InputError: with everything that is wrong: names, a schedule, use of time, a product of states, fast states
            that grow when the slow ones are held.

    Example:
        >>> from forward_models.receptor_tf import model
        >>> theta = {"eps": 0.1, "L": 2.0, "Kd": 1.0, "beta": 1.0, "delta": 0.5}
        >>> kernel = memory_kernel(model.system, ["x"], theta, {})
        >>> round(float(kernel.memory_time), 6)
        0.033333
    """
    theta, inputs = ({name: jnp.asarray(value, float) for name, value in part.items()} for part in (theta, inputs))
    names = tuple(system.initial(theta, inputs))
    slow, fast, findings = split_states(names, fast)
    if system.stops:
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
        found = system.rhs(jnp.zeros(()), dict(zip(names, y, strict=True)), theta, inputs)
        return jnp.stack([jnp.asarray(found[name], float) for name in names])

    origin, start, order = jnp.zeros(len(names)), system.initial(theta, inputs), np.array(order)
    matrix = jax.jacfwd(rates)(origin)[order][:, order]
    return matrix, rates(origin)[order], jnp.stack([jnp.asarray(start[name], float) for name in names])[order]


def _linearity_findings(system: Ode, names: tuple[str, ...], theta: Theta, inputs: Inputs) -> list[str]:
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


@jax.jit
def _exponentials(matrix, times) -> Array:
    """e^(matrix t) `(times, n, n)`."""
    scale = _balance(matrix)
    balanced = matrix * scale / scale[:, None]
    found = jax.vmap(lambda t: _exponential(balanced * t))(jnp.atleast_1d(jnp.asarray(times, float)))
    return found * scale[:, None] / scale


def _exponential(matrix) -> Array:
    """By halving, a Taylor series and squaring, all of e^M - 1, in which slow rates keep their digits beside fast ones.

    (That of jax.scipy.linalg halves once too little: its e^-10 is wrong from the eighth digit on.)
    """
    norm = jnp.abs(lax.stop_gradient(matrix)).sum(axis=0).max(initial=0.0)
    halvings = jnp.maximum(jnp.ceil(jnp.log2(jnp.maximum(norm, 1e-300))) + 1, 0)
    small, one = matrix * 2.0**-halvings, jnp.eye(len(matrix))
    series = one
    for k in range(TAYLOR, 1, -1):
        series = one + small @ series / k

    def double(less_one, k):
        return jnp.where(k < halvings, 2 * less_one + less_one @ less_one, less_one), None

    less_one, _ = lax.scan(double, small @ series, jnp.arange(HALVINGS))
    return jnp.where(halvings <= HALVINGS, one + less_one, jnp.nan)


def _balance(matrix) -> Array:
    """Sizes of the states `(n,)` in which rows and columns weigh the same, so that units cost no digits.

    By damped sweeps (Osborne 1960). A constant, whose row is zero, is measured so that its column is no larger than the
    rates.
    """
    size = jnp.abs(lax.stop_gradient(matrix))
    diagonal, size = jnp.diag(size).max(initial=0.0), size * (1 - jnp.eye(len(size)))

    def sweep(scale, _):
        scaled = size * scale / scale[:, None]
        row, column = scaled.sum(axis=1), scaled.sum(axis=0)
        factor = (row / jnp.where(column > 0, column, 1.0)) ** 0.25
        factor = jnp.where((row == 0) & (diagonal > 0), diagonal / jnp.where(column > 0, column, 1.0), factor)
        return scale * jnp.where((column > 0) & (factor > 0), factor, 1.0), None

    return lax.scan(sweep, jnp.ones(len(size)), length=BALANCING_SWEEPS)[0]


def _quadrature(rates) -> tuple[np.ndarray, np.ndarray]:
    """Lags and weights `(n,)` for what decays and turns with the rates: panels that grow, none above an eighth turn."""
    end, turn = 40.0 / -rates.real.max(), np.pi / 4 / np.maximum(np.abs(rates.imag).max(), 1e-300)
    edges = [0.0, 0.1 / np.abs(rates).max()]
    while edges[-1] < end:
        edges.append(edges[-1] + min(0.5 * edges[-1], turn))
    nodes, weights = np.polynomial.legendre.leggauss(8)
    left, length = np.array(edges[:-1])[:, None], np.diff(edges)[:, None]
    return (left + length * (nodes + 1) / 2).ravel(), (length * weights / 2).ravel()


def _invariant_bases(matrix: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Bases `(n, size)` of invariant subspaces and their dual rows `(size, n)`, as many as keep the digits.

    Each eigenvalue, or complex pair, begins alone, with an orthonormal basis from a sorted Schur form. As long as the
    bases together are ill-conditioned, the two nearest groups become one (in the spirit of Bavely & Stewart 1979); one
    group of all has an orthonormal basis, so this ends.
    """
    # units of the states are no reason to join anything
    balanced, scale = scipy.linalg.matrix_balance(matrix, permute=False)
    seen = np.linalg.eigvals(balanced)
    points = np.unique(np.stack([seen.real, np.abs(seen.imag)], axis=1), axis=0)
    groups = [[k] for k in range(len(points))]
    while True:
        bases = [_invariant_basis(balanced, points, group) for group in groups]
        whole = np.concatenate(bases, axis=1)
        if len(groups) == 1 or (whole.shape[0] == whole.shape[1] and np.linalg.cond(whole) <= LARGEST_CONDITION):
            break
        pairs = [(i, j) for j in range(len(groups)) for i in range(j)]
        i, j = min(
            pairs,
            key=lambda pair: min(np.hypot(*(points[a] - points[b])) for a in groups[pair[0]] for b in groups[pair[1]]),
        )
        groups[i] += groups.pop(j)
    dual, ends = np.linalg.inv(whole) @ np.linalg.inv(scale), np.cumsum([basis.shape[1] for basis in bases])
    return list(zip([scale @ basis for basis in bases], np.split(dual, ends[:-1]), strict=True))


def _invariant_basis(matrix, points, group) -> np.ndarray:
    """Orthonormal basis of the eigenvalues nearest to the points of the group; empty where these cannot be sorted."""

    def chosen(real, imaginary):
        return int(np.argmin(np.hypot(points[:, 0] - real, points[:, 1] - abs(imaginary)))) in group

    try:
        _, basis, size = scipy.linalg.schur(matrix, output="real", sort=chosen)
    except np.linalg.LinAlgError:
        # so close together that sorting mixes them: not a basis, and the group is joined to the next
        return np.zeros((len(matrix), 0))
    return basis[:, :size]


@dataclass(frozen=True, eq=False)
class Linear:
    """Right-hand side and start of an `Ode` with the numbers of an `Affine` system, states by name."""

    names: tuple[str, ...]
    matrix: np.ndarray
    source: np.ndarray
    begin: np.ndarray

    def initial(self, p, inputs):
        return {name: jnp.asarray(value) for name, value in zip(self.names, self.begin, strict=True)}

    def rhs(self, t, y, p, inputs):
        # written out over the entries that there are, so that the solver sees which derivative reads which state
        rates = {}
        for name, row, source in zip(self.names, self.matrix, self.source, strict=True):
            rates[name] = sum(
                (float(c) * y[other] for c, other in zip(row, self.names, strict=True) if c), source + 0.0 * y[name]
            )
        return rates


def _truncated(kernel: MemoryKernel, modes: int | None) -> tuple[Affine, Block]:
    """Slow and kept auxiliary states, the other blocks acting at once; and these blocks as one."""
    sizes = np.cumsum([0] + [block.size for block in kernel.blocks])
    modes = sizes[-1] if modes is None else modes
    if modes not in sizes:
        raise InputError(
            "embedding",
            [
                f"{modes!r} auxiliary states cannot be kept: complex pairs, and rates too close to be told apart, stay "
                f"together; possible are {', '.join(map(str, sizes))}."
            ],
        )
    count = int(np.searchsorted(sizes, modes))
    kept, left = (_joined(part, len(kernel.slow)) for part in (kernel.blocks[:count], kernel.blocks[count:]))
    at_once = np.linalg.solve(left.matrix, np.column_stack([left.inward, left.source]))
    A = np.asarray(kernel.A) - left.outward @ at_once[:, :-1]
    source = np.asarray(kernel.source_slow) - left.outward @ at_once[:, -1]
    matrix = np.block([[A, kept.outward], [kept.inward, kept.matrix]])
    start = np.append(kernel.start_slow, kept.start)
    return Affine(jnp.asarray(matrix), jnp.append(source, kept.source), jnp.asarray(start)), left


def _joined(blocks: Sequence[Block], slow: int) -> Block:
    if not blocks:
        return Block(np.zeros((0, 0)), np.zeros((slow, 0)), np.zeros((0, slow)), np.zeros(0), np.zeros(0))
    return Block(
        scipy.linalg.block_diag(*(block.matrix for block in blocks)),
        np.concatenate([block.outward for block in blocks], axis=1),
        *(np.concatenate([getattr(block, part) for block in blocks]) for part in ("inward", "source", "start")),
    )


def embedding(kernel: MemoryKernel, modes: int | None = None) -> Ode:
    """The slow states with the memory in a few auxiliary ones, an ordinary `Ode` with numbers for parameters.

    Args:
        modes: auxiliary states to keep, one for each exponential (a complex pair is two); default all, which is exact.
            The blocks that cost most to leave out are kept first. Those left out act at once, so that steady states
            stay as they are; with 0 this is the memoryless reduction.

    Returns:
        states: the slow ones by their names, then z1, z2, ... (with more z's where these are taken).

    Raises:
        InputError: a number of modes that would cut a pair.

    Example:
        >>> from forward_models.receptor_tf import model
        >>> theta = {"eps": 0.1, "L": 2.0, "Kd": 1.0, "beta": 1.0, "delta": 0.5}
        >>> list(embedding(memory_kernel(model.system, ["x"], theta, {})).initial({}, {}))
        ['y', 'z1']
    """
    affine, _ = _truncated(kernel, modes)
    letter = "z"
    while any(name.startswith(letter) for name in kernel.slow):
        letter += "z"
    names = kernel.slow + tuple(f"{letter}{k + 1}" for k in range(len(affine.start) - len(kernel.slow)))
    linear = Linear(names, np.asarray(affine.matrix), np.asarray(affine.source), np.asarray(affine.start))
    return replace(kernel.system, initial=linear.initial, rhs=linear.rhs, algebraic=None)


@dataclass(frozen=True)
class EmbeddingError:
    """What leaving modes out costs.

    Args:
        weight: integral over all lags of the norm of the kernel that is left out: its L1 error, since what acts at once
            instead has no part in K(s) at s > 0.
        lag: the same of its integral from each lag on: what acting at once costs for each unit of y'.
        bound: on the largest error of any slow state up to the end, in the unit of the states.
    """

    weight: float
    lag: float
    bound: float


def embedding_error(kernel: MemoryKernel, modes: int | None, end: float) -> EmbeddingError:
    """Bounds what an embedding with fewer modes does to the slow states up to the time `end` after the start.

    With w = z - z_quasi-steady of what is left out, w' = D w + D^-1 C y', the error e of y obeys the kept equations
    with B w as a source. So max abs e <= max G int abs(B e^(D s) w(0)) ds + int G ds int abs(B e^(D s) D^-1 C) ds max
    abs y', where G is the norm of the response of the kept system to a push of y. Norms are those of max abs; integrals
    and maxima are taken on grids, to about three digits.

    Example:
        >>> from forward_models.receptor_tf import model
        >>> theta = {"eps": 0.1, "L": 2.0, "Kd": 1.0, "beta": 1.0, "delta": 0.5}
        >>> found = embedding_error(memory_kernel(model.system, ["x"], theta, {}), 0, 5.0)
        >>> round(found.bound, 3)
        0.022
    """
    affine, left = _truncated(kernel, modes)
    size, times = len(kernel.slow), jnp.linspace(0.0, end, 513)
    response = jnp.abs(_exponentials(affine.matrix, times)[:, :size, :size]).sum(axis=-1).max(axis=-1)
    full = kernel.full()
    speed = jnp.abs((full.at(times) @ full.matrix.T + full.source)[:, :size]).max()
    lag, slip = left.lag(), left.slip(np.asarray(kernel.start_slow))
    bound = response.max() * slip + jnp.trapezoid(response, times) * lag * speed
    return EmbeddingError(left.weight(), lag, float(bound))


def compare(kernel: MemoryKernel, design: Design, *, modes: int | None = None, eps=(1e-2, 3e-3, 1e-3)) -> xr.Dataset:
    """The slow states by each reduction beside the full system, all by matrix exponentials.

    Args:
        design: its times, finite and some after the start; leave out the initial layer, where no reduction without
            memory can be right.
        modes: of the embedding, see `embedding`.
        eps: factors by which the fast rates are divided to see how the errors fall.

    Returns:
        `full` (time, state); `y` and `error` (reduction, time, state) with the reductions "embedded", "first order" and
        "memoryless"; `largest` (reduction, eps), the largest error with fast rates so divided, of those without memory;
        `slope` (reduction), of log largest in log eps: 1 for "memoryless", 2 for "first order".

    Raises:
        InputError: times or factors of which nothing can be learnt.

    Example:
        >>> from forward_models.receptor_tf import model
        >>> theta = {"eps": 0.1, "L": 2.0, "Kd": 1.0, "beta": 1.0, "delta": 0.5}
        >>> found = compare(memory_kernel(model.system, ["x"], theta, {}), Design([5.0]))
        >>> [round(float(found.slope.sel(reduction=name)), 2) for name in ("memoryless", "first order")]
        [1.0, 2.0]
    """
    times = np.asarray(design.times - design.start)
    eps = np.asarray(eps, float)
    findings = (
        [] if np.all(np.isfinite(times)) and np.any(times > 0) else ["times must be finite, some after the start."]
    )
    if eps.ndim != 1 or len(eps) < 2 or not np.all(eps > 0):
        findings.append(f"eps is {eps.tolist()}; give two positive factors or more.")
    if findings:
        raise InputError("compare", findings)
    size = len(kernel.slow)
    full = kernel.full().at(times)[:, :size]
    plain = {"first order": MemoryKernel.first_order, "memoryless": MemoryKernel.quasi_steady}
    found = {"embedded": _truncated(kernel, modes)[0].at(times)[:, :size]}
    found |= {name: reduce(kernel).at(times) for name, reduce in plain.items()}
    y = np.stack([*found.values()])
    largest = np.zeros((len(plain), len(eps)))
    for k, factor in enumerate(eps):
        faster = kernel.accelerated(factor)
        exact = faster.full().at(times)[:, :size]
        largest[:, k] = [np.abs(reduce(faster).at(times) - exact).max() for reduce in plain.values()]
    resolved = np.all(largest > 0, axis=1)
    slopes = np.polyfit(np.log(eps), np.log(np.where(resolved[:, None], largest, 1.0)).T, 1)[0]
    return xr.Dataset(
        {
            "full": (("time", "state"), np.asarray(full)),
            "y": (("reduction", "time", "state"), y),
            "error": (("reduction", "time", "state"), y - np.asarray(full)),
            "largest": (("reduction", "eps"), np.concatenate([np.full((1, len(eps)), np.nan), largest])),
            "slope": ("reduction", np.append(np.nan, np.where(resolved, slopes, np.nan))),
        },
        {"reduction": [*found], "time": np.asarray(design.times), "state": [*kernel.slow], "eps": eps},
        {"not_resolved": "the slope of the embedding, whose error comes from rounding or from modes left out"},
    )


def prony(samples, step: float, modes: int) -> Prony:
    """Exponentials fitted to a kernel that is known at equally spaced lags only.

    By the matrix pencil (Hua & Sarkar 1990, doi:10.1109/29.56027): the rates are those by which the span of the shifted
    samples moves, shared by all entries of the kernel; the residues follow by least squares. Noise biases rates that
    decay within a few steps; whether more modes are needed is told by the residual.

    Args:
        samples: `(lags, ...)` from lag 0 on. step: between lags, in the time unit. modes: exponentials, complex ones
            counted singly.

    Raises:
        InputError: too few lags, a step that is not positive, samples that are no numbers, fewer modes than asked for.

    Example:
        >>> lags = np.arange(20) * 0.1
        >>> fit = prony(3 * np.exp(-2 * lags), 0.1, 1)
        >>> round(float(fit.rates[0].real), 6), round(float(fit.residues[0].real), 6)
        (-2.0, 3.0)
    """
    samples = np.asarray(samples, float)
    count = samples.shape[0] if samples.ndim else 0
    findings = [] if np.all(np.isfinite(samples)) else ["samples have values that are not finite."]
    if not step > 0:
        findings.append(f"the step is {step}; it must be positive.")
    if not 1 <= modes <= count // 2:
        findings.append(f"{modes} modes from {count} lags; give between 1 and {count // 2}, two lags for each.")
    if findings:
        raise InputError("prony", findings)
    width = min(count - modes, max(count // 2, modes))
    flat = samples.reshape(count, -1)
    hankel = np.concatenate([np.lib.stride_tricks.sliding_window_view(column, width + 1) for column in flat.T], axis=0)
    _, singular, directions = np.linalg.svd(hankel, full_matrices=False)
    if singular[min(modes, len(singular)) - 1] <= 1e-14 * max(singular[0], 1e-300) or len(singular) < modes:
        raise InputError("prony", [f"the samples are a sum of fewer than {modes} exponentials; ask for fewer modes."])
    span = directions[:modes].T
    factors = np.linalg.eigvals(np.linalg.lstsq(span[:-1], span[1:], rcond=None)[0]).astype(complex)
    rates = np.log(factors) / step
    lags = step * np.arange(count)
    residues = np.linalg.lstsq(np.exp(np.multiply.outer(lags, rates)), flat.astype(complex), rcond=None)[0]
    return _series(rates, residues.reshape(modes, *samples.shape[1:]), lags, samples)
