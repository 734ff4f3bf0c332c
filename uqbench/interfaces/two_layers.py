"""Diffusion through two layers over time, each on a grid of its own, and what passes between them.

In layer i finite volumes of equal width hold the concentration c_i, with dc_i/dt = -dJ_i/dx - k c_i + q_i. The flux
through the interface is one number for both layers,

    J = (c_1 - K c_2) / (1/P + h_1/(2 D_1) + K h_2/(2 D_2)),

from the middles of the cells beside it: half a cell of each layer and a membrane of permeability P in series, with
K = c_1/c_2 in equilibrium. The concentration jumps there unless K is one and P infinite, and nothing is lost. The
opposite is `Exchange.INTERPOLATED`: each layer takes its neighbour's concentration, interpolated to where its own next
cell would be, and has a flux of its own. The concentration is continuous to the accuracy of the grids, and what
leaves one layer is not what enters the other. So continuity of the state is neither necessary nor sufficient.

Steps are those of Alexander's method of two implicit stages (1977, doi:10.1137/0714068), of second order and L-stable.
A step adds fluxes to contents, so that the balance closes to rounding however well its equations are solved.
"""

from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ..annotations import Numbers
from ..errors import InputError
from ..units import unit_finding
from .checks import relative, sign_findings
from .codes import Ending
from .grids import gap_findings, side_findings, unit_findings

# Alexander's coefficient: that with which the two stages are L-stable.
STAGE = 1 - 1 / np.sqrt(2)


class Exchange(StrEnum):
    """How two layers are joined."""

    CONSERVATIVE = "conservative"
    INTERPOLATED = "interpolated"


@dataclass(frozen=True)
class Layer:
    """An interval of equal cells.

    Args:
        start, end: its sides. cells: their number. unit: of lengths.

    Raises:
        InputError: with everything that is wrong.
    """

    start: float
    end: float
    cells: int
    unit: str = ""

    def __post_init__(self):
        findings = side_findings("x", (self.start, self.end), self.cells)
        findings += list(filter(None, [unit_finding(self.unit)]))
        if findings:
            raise InputError("layer", findings)

    @property
    def width(self) -> float:
        """Of a cell."""
        return (self.end - self.start) / self.cells

    @property
    def middles(self) -> np.ndarray:
        """Of the cells, `(cells,)`."""
        return self.start + self.width * (np.arange(self.cells) + 0.5)


class LayersRun(NamedTuple):
    """What `TwoLayers.run` finds at each time; NaN where `result` is not zero. Amounts are by area of the interface.

    Args:
        first, second: concentrations `(times, cells)`.
        content: `(times, 2)`, the amount in each layer.
        leaving, entering: `(times,)`, fluxes out of the first and into the second layer.
        inflow, outflow: `(times,)`, fluxes through the outer ends.
        leak: `(times,)`, what the contents gained since the start less what passed the outer ends, was produced and
            decayed: amount that the exchange has made. Zero to rounding where it conserves.
        residual: `(times,)`, R = dM/dt - (J_in - J_out + S) in the mean over the time since the one before.
        result: 0, or a code of `SENTENCES`.
    """

    first: Array
    second: Array
    content: Array
    leaving: Array
    entering: Array
    inflow: Array
    outflow: Array
    leak: Array
    residual: Array
    result: Array


class _Numbers(NamedTuple):
    diffusivity: Array
    partition: Array
    permeability: Array
    decay: Array
    source: Array
    transfer: Array
    outside: Array
    inflow: Array
    bias: Array


@dataclass(frozen=True)
class TwoLayers:
    """Two layers, the second where the first ends.

    Args:
        first, second: with grids of their own. exchange: how they are joined.

    Raises:
        InputError: with all that is wrong with how they lie.

    Example:
        >>> layers = TwoLayers(Layer(0.0, 1.0, 10), Layer(1.0, 2.0, 15))
        >>> run = layers.run([0.5, 50.0], diffusivity=(1.0, 0.3), partition=3.0, start=(4.0, 0.0))
        >>> run.content[-1].round(6).tolist(), bool(abs(run.leak).max() < 1e-13)
        ([3.0, 1.0], True)
    """

    first: Layer
    second: Layer
    exchange: Exchange = Exchange.CONSERVATIVE

    def __post_init__(self):
        findings = gap_findings((self.first.start, self.first.end), (self.second.start, self.second.end))
        findings += unit_findings(self.first.unit, self.second.unit)
        if self.exchange not in [*Exchange]:
            findings.append(f"exchange {self.exchange!r}; known are {', '.join(repr(str(each)) for each in Exchange)}.")
        if findings:
            raise InputError("two layers", findings)
        object.__setattr__(self, "exchange", Exchange(self.exchange))

    def run(
        self,
        times: Numbers,
        *,
        diffusivity: tuple[Numbers, Numbers],
        partition: Numbers = 1.0,
        permeability: Numbers = jnp.inf,
        start: tuple[Numbers, Numbers] = (0.0, 0.0),
        decay: tuple[Numbers, Numbers] = (0.0, 0.0),
        source: tuple[Numbers, Numbers] = (0.0, 0.0),
        transfer: tuple[Numbers, Numbers] = (0.0, 0.0),
        outside: tuple[Numbers, Numbers] = (0.0, 0.0),
        inflow: Numbers = 0.0,
        bias: Numbers = 0.0,
        steps: int = 50,
    ) -> LayersRun:
        """Concentrations, fluxes and the balance over time, traceable, with exact derivatives.

        Args:
            times: `(times,)`, not falling, after 0, when the run starts. steps: of equal length between two of them.
            diffusivity: D of both layers; all pairs are of both. partition: K.
            permeability: P; infinite where nothing resists.
            start: concentrations at 0, numbers or `(cells,)`. decay: k. source: q, numbers or `(cells,)`.
            transfer, outside: permeability of the outer ends, 0 where they are closed, and the concentrations beyond.
            inflow: a flux into the first layer at its outer end, besides.
            bias: eps, a spurious flux that enters the second layer without having left the first.

        Raises:
            InputError: with all that is wrong with numbers that are known before the run.
        """
        steady = {"permeability": permeability, "partition": partition, "diffusivity": diffusivity}
        spacing = {} if isinstance(times, jax.core.Tracer) else {"a step of time": np.diff(times, prepend=0.0)}
        findings = sign_findings(steady, {"decay": decay, "transfer": transfer, **spacing})
        if not (isinstance(steps, int | np.integer) and steps >= 1):
            findings.append(f"{steps!r} steps between two times; give a whole number from 1 on.")
        if findings:
            raise InputError("two layers", findings)
        numbers = _Numbers(
            diffusivity=_pair(diffusivity),
            partition=jnp.asarray(partition, float),
            permeability=jnp.asarray(permeability, float),
            decay=self._cells(decay),
            source=self._cells(source),
            transfer=_pair(transfer),
            outside=_pair(outside),
            inflow=jnp.asarray(inflow, float),
            bias=jnp.asarray(bias, float),
        )
        return _run(self, jnp.asarray(times, float), numbers, self._cells(start), steps)

    def _cells(self, pair) -> Array:
        """One array over the cells of both layers."""
        counts = self.first.cells, self.second.cells
        return jnp.concatenate([jnp.broadcast_to(jnp.asarray(v, float), n) for v, n in zip(pair, counts, strict=True)])


def _pair(values: tuple[Numbers, Numbers]) -> Array:
    return jnp.stack([jnp.asarray(each, float) for each in values])


def spurious_drift(bias: Numbers, decay: Numbers, time: Numbers) -> Array:
    """What a spurious flux adds to an amount that decays: bias/decay (1 - exp(-decay time)), in the end bias/decay.

    Args:
        bias: amount by area and time. decay: 1/time, positive.

    Example:
        >>> print(f"{spurious_drift(0.05, 0.1, 10.0):.10f} {spurious_drift(0.05, 0.1, jnp.inf):.1f}")
        0.3160602794 0.5
    """
    bias, decay, time = (jnp.asarray(each, float) for each in (bias, decay, time))
    return -bias / decay * jnp.expm1(-decay * time)


class _State(NamedTuple):
    """Concentrations of all cells, and the amount that passed the ends, was produced and decayed."""

    cells: Array
    accounted: Array


def _beyond(own: Layer, other: Layer) -> np.ndarray:
    """Weights `(cells,)` of the other layer's concentrations for that where the next cell of a layer would be."""
    at, middles = own.width / 2, other.width * (np.arange(other.cells) + 0.5)
    if other.cells == 1:
        return np.ones(1)
    after = int(np.clip(np.searchsorted(middles, at), 1, other.cells - 1))
    weights, part = np.zeros(other.cells), (at - middles[after - 1]) / other.width
    weights[after - 1], weights[after] = 1 - part, part
    return weights


def _fluxes(layers: TwoLayers, numbers: _Numbers, cells: Array) -> tuple[Array, Array]:
    """Fluxes through all faces of both layers, `(cells + 1,)` each, to the right."""
    h1, h2, (D1, D2) = layers.first.width, layers.second.width, numbers.diffusivity
    c1, c2, K = cells[: layers.first.cells], cells[layers.first.cells :], numbers.partition
    if layers.exchange is Exchange.CONSERVATIVE:
        resistance = 1 / numbers.permeability + h1 / (2 * D1) + K * h2 / (2 * D2)
        leaving = entering = (c1[-1] - K * c2[0]) / resistance
    else:
        leaving = D1 / h1 * (c1[-1] - K * (_beyond(layers.first, layers.second) @ c2))
        entering = D2 / h2 * (_beyond(layers.second, layers.first) @ c1[::-1] / K - c2[0])
    # an outer end and half a cell in series
    a1, a2 = numbers.transfer / (1 + numbers.transfer * jnp.array([h1, h2]) / (2 * numbers.diffusivity))
    into = numbers.inflow + a1 * (numbers.outside[0] - c1[0])
    out = a2 * (c2[-1] - numbers.outside[1])
    first = jnp.concatenate([into[None], -D1 / h1 * jnp.diff(c1), leaving[None]])
    return first, jnp.concatenate([(entering + numbers.bias)[None], -D2 / h2 * jnp.diff(c2), out[None]])


def _rates(layers: TwoLayers, numbers: _Numbers, cells: Array) -> tuple[Array, Array]:
    """dc/dt of all cells, and the rate of what the balance accounts for."""
    first, second = _fluxes(layers, numbers, cells)
    made = numbers.source - numbers.decay * cells
    divergence = jnp.concatenate([jnp.diff(first) / layers.first.width, jnp.diff(second) / layers.second.width])
    return made - divergence, first[0] - second[-1] + jnp.sum(_amounts(layers, made))


def _amounts(layers: TwoLayers, cells: Array) -> Array:
    """In each layer."""
    n = layers.first.cells
    return jnp.stack([layers.first.width * jnp.sum(cells[:n]), layers.second.width * jnp.sum(cells[n:])])


@partial(jax.jit, static_argnames=("layers", "steps"))
def _run(layers: TwoLayers, times: Array, numbers: _Numbers, start: Array, steps: int) -> LayersRun:
    rates = partial(_rates, layers, numbers)
    at_zero, _ = rates(jnp.zeros_like(start))
    matrix = jax.jacfwd(lambda cells: rates(cells)[0])(jnp.zeros_like(start))

    def interval(state: _State, length: Array):
        dt = length / steps
        implicit = jnp.linalg.inv(jnp.eye(len(start)) - STAGE * dt * matrix)

        def step(state: _State, _):
            early, passed = rates(implicit @ (state.cells + STAGE * dt * at_zero))
            late_start = state.cells + (1 - STAGE) * dt * early + STAGE * dt * at_zero
            late, passed_late = rates(implicit @ late_start)
            cells = state.cells + dt * ((1 - STAGE) * early + STAGE * late)
            return _State(cells, state.accounted + dt * ((1 - STAGE) * passed + STAGE * passed_late)), None

        state, _ = jax.lax.scan(step, state, length=steps)
        return state, state

    lengths = jnp.diff(times, prepend=0.0)
    _, states = jax.lax.scan(interval, _State(start, jnp.zeros(())), lengths)
    return _read(layers, numbers, states, start, lengths)


def _read(layers: TwoLayers, numbers: _Numbers, states: _State, start: Array, lengths: Array) -> LayersRun:
    content = jax.vmap(partial(_amounts, layers))(states.cells)
    first, second = jax.vmap(partial(_fluxes, layers, numbers))(states.cells)
    leak = jnp.sum(content, axis=1) - jnp.sum(_amounts(layers, start)) - states.accounted
    made = jnp.diff(leak, prepend=0.0)
    residual = relative(made, lengths)
    positive = jnp.all(numbers.diffusivity > 0) & (numbers.partition > 0) & (numbers.permeability > 0)
    positive &= jnp.all(numbers.decay >= 0) & jnp.all(numbers.transfer >= 0) & jnp.all(lengths >= 0)
    positive &= jnp.all(jnp.isfinite(states.cells))
    result = jnp.where(positive, Ending.SUCCESS, Ending.BAD_COEFFICIENT)
    n = layers.first.cells
    outputs = (
        states.cells[:, :n], states.cells[:, n:], content, first[:, -1], second[:, 0], first[:, 0], second[:, -1], leak,
        residual,
    )  # fmt: skip
    return LayersRun._make([*(jnp.where(result == 0, each, jnp.nan) for each in outputs), result])
