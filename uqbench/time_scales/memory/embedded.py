"""Embeddings: a memory in a few auxiliary states, so that the system is an ordinary one again.

A kernel that is a sum of exponentials, K(s) = sum_k c_k e^(r_k s), remembers by states that forget at these rates:

    y' = A y + sum_k c_k z_k,     z_k' = r_k z_k + y

is y' = A y + int K(s) y(t - s) ds with the integral written out. `embedding` takes the kernel of a known system, exact
with all its modes or cheaper with the first few; `embedding_error` bounds what that costs, and `compare` sets it beside
the reductions without memory. `embedding_of_series` takes a kernel of which only a Prony series is known, as from
samples.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from numbers import Real

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from ...design import Design
from ...errors import InputError
from ...system import Ode
from .invariant_blocks import Block, joined
from .kernel import MemoryKernel
from .matrix_exponential import Affine, exponentials
from .series import Prony

# What rounding makes of a fit to exact samples, relative to the largest value of the kernel.
ROUNDING = 1e-10


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
        >>> from uqbench.time_scales.memory import memory_kernel
        >>> theta = {"eps": 0.1, "L": 2.0, "Kd": 1.0, "beta": 1.0, "delta": 0.5}
        >>> list(embedding(memory_kernel(model.system, ["x"], theta, {})).initial({}, {}))
        ['y', 'z1']
    """
    linear = _named(_truncated(kernel, modes)[0], kernel.slow)
    return replace(kernel.system, initial=linear.initial, rhs=linear.rhs, algebraic=None)


def _truncated(kernel: MemoryKernel, modes: int | None) -> tuple[Affine, Block]:
    """Slow and kept auxiliary states, the other blocks acting at once; and these blocks as one."""
    sizes = np.cumsum([0] + [block.size for block in kernel.blocks])
    modes = sizes[-1] if modes is None else modes
    if modes not in sizes:
        raise InputError(
            "embedding",
            [
                f"{modes!r} auxiliary states cannot be kept: complex pairs, and rates too close to be distinguished, "
                f"stay together; possible are {', '.join(map(str, sizes))}."
            ],
        )
    count = int(np.searchsorted(sizes, modes))
    kept, left = (joined(part, len(kernel.slow)) for part in (kernel.blocks[:count], kernel.blocks[count:]))
    at_once = np.linalg.solve(left.matrix, np.column_stack([left.inward, left.source]))
    A = np.asarray(kernel.A) - left.outward @ at_once[:, :-1]
    source = np.asarray(kernel.source_slow) - left.outward @ at_once[:, -1]
    return _with_auxiliary(A, source, kernel.start_slow, kept), left


def _with_auxiliary(A, source, start, block: Block) -> Affine:
    """Slow states and the auxiliary ones of a block."""
    matrix = np.block([[A, block.outward], [block.inward, block.matrix]])
    return Affine(*map(jnp.asarray, (matrix, np.append(source, block.source), np.append(start, block.start))))


def _named(affine: Affine, slow: tuple[str, ...]) -> Linear:
    """With the names of the slow states, and for the others names that no slow one begins with."""
    letter = "z"
    while any(name.startswith(letter) for name in slow):
        letter += "z"
    names = slow + tuple(f"{letter}{k + 1}" for k in range(len(affine.start) - len(slow)))
    return Linear(names, np.asarray(affine.matrix), np.asarray(affine.source), np.asarray(affine.start))


def embedding_of_series(series: Prony, A, start: Mapping[str, float], *, source=None) -> Ode:
    """The slow states with a memory that is known as a Prony series, y' = A y + int K(s) y(t - s) ds + source.

    The auxiliary states start at rest, as if the past before the start had been zero: the kernel says nothing of what
    the fast states brought with them. A rate takes one of them for each direction in which the slow states act through
    it, the rank of its residue, and a complex pair two; directions that weigh less than the residual (or 1e-10) of the
    kernel are left out.

    Args:
        series: with residues `(modes, slow, slow)`, such as `prony` makes of samples `(lags, slow, slow)`.
        A: `(slow, slow)`, per time: what acts at once.
        start: name -> value of the slow states, in the order of A.
        source: `(slow,)`, constant; default none.

    Returns:
        states: the slow ones by their names, then z1, z2, ... as in `embedding`. Trajectories are as good as the fit
        over the lags that it saw, and extrapolate it beyond; tolerances are set with `dataclasses.replace`.

    Raises:
        InputError: with everything that is wrong: shapes, numbers, rates that do not decay.

    Example:
        >>> from uqbench.time_scales.memory import prony
        >>> lags = 0.1 * np.arange(20)
        >>> fit = prony(-3 * np.exp(-2 * lags)[:, None, None], 0.1, 1)
        >>> list(embedding_of_series(fit, [[-0.5]], {"y": 1.0}).initial({}, {}))
        ['y', 'z1']
    """
    names, size = tuple(start), len(start)
    A, begin = np.asarray(A, float), np.array([*start.values()], float)
    source = np.zeros(size) if source is None else np.asarray(source, float)
    _check_series(series, A, begin, source)
    # the residual is relative to the largest value of the kernel, which is at least the largest of these
    size_of_kernel = np.abs(series(np.append(0.0, 1 / np.abs(series.rates)))).max()
    negligible = max(series.residual, ROUNDING) * size_of_kernel
    linear = _named(_with_auxiliary(A, source, begin, joined(_blocks_of(series, negligible), size)), names)
    return Ode(linear.initial, linear.rhs)


def _blocks_of(series: Prony, negligible: float) -> list[Block]:
    """A block for each rate: real part of residue e^(rate s) in real states, one for each direction that counts."""
    # of what only the real part counts, a rate and its conjugate are the same
    lower = series.rates.imag < 0
    rates = np.where(lower, series.rates.conj(), series.rates)
    residues = np.where(lower[:, None, None], series.residues.conj(), series.residues)
    blocks = []
    for rate in np.unique(rates):
        residue, parts = residues[rates == rate].sum(axis=0), 2 if rate.imag else 1
        left, sizes, right = np.linalg.svd(residue if rate.imag else residue.real)
        rank = np.count_nonzero(sizes > negligible)
        outward, inward = left[:, :rank] * sizes[:rank], right[:rank]
        turn = np.array([[rate.real, -rate.imag], [rate.imag, rate.real]])[:parts, :parts]
        outward = np.concatenate([outward.real, -outward.imag][:parts], axis=1)
        inward = np.concatenate([inward.real, inward.imag][:parts])
        blocks.append(Block(np.kron(turn, np.eye(rank)), outward, inward, *np.zeros((2, parts * rank))))
    return blocks


def _check_series(series: Prony, A, start, source) -> None:
    size, modes = len(start), len(series.rates)
    shapes = {"A": (A, (size, size)), "source": (source, (size,)), "residues": (series.residues, (modes, size, size))}
    findings = [
        f"{name} has the shape {values.shape}; for {size} slow states it must be {shape}."
        for name, (values, shape) in shapes.items()
        if values.shape != shape
    ]
    numbers = {"A": A, "start": start, "source": source, "rates": series.rates, "residues": series.residues}
    findings += [
        f"{name} has values that are not finite." for name, part in numbers.items() if not np.all(np.isfinite(part))
    ]
    if growing := [rate for rate in series.rates if rate.real >= 0]:
        findings.append(
            f"the rates {', '.join(f'{rate:.4g}' for rate in growing)} do not decay, and neither would the memory; fit "
            "fewer modes, or samples over more lags."
        )
    if findings:
        raise InputError("embedding_of_series", findings)


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

    Args:
        modes: as for `embedding`.
        end: in the time unit, positive and finite.

    Raises:
        InputError: an end that is neither, a number of modes that would cut a pair.

    Example:
        >>> from forward_models.receptor_tf import model
        >>> from uqbench.time_scales.memory import memory_kernel
        >>> theta = {"eps": 0.1, "L": 2.0, "Kd": 1.0, "beta": 1.0, "delta": 0.5}
        >>> found = embedding_error(memory_kernel(model.system, ["x"], theta, {}), 0, 5.0)
        >>> round(found.bound, 3)
        0.022
    """
    if np.shape(end) or not isinstance(end, Real | jax.Array) or not 0 < end < np.inf:
        raise InputError("embedding_error", [f"the end is {end!r}; it must be one positive, finite time."])
    affine, left = _truncated(kernel, modes)
    size, times = len(kernel.slow), jnp.linspace(0.0, end, 513)
    response = jnp.abs(exponentials(affine.matrix, times)[:, :size, :size]).sum(axis=-1).max(axis=-1)
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
        >>> from uqbench.time_scales.memory import memory_kernel
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
