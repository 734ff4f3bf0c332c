"""What the views have in common whose states are whole numbers of molecules."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from types import MappingProxyType

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ...annotations import AnyArray, Values, ValuesOrShapes
from ...design import Design
from ...errors import FIRST_OWN
from ...system import Frozen
from ..protocol import Functions, System
from .network import Network

NO_COUNT = FIRST_OWN + 31
# Times at which is looked how propensities change, and between how many pairs of them they may jump.
LOOKED_AT, PULSES = 512, 16
# How far equal times are parted, as a share of the last.
PARTED = 1e-13


@dataclass(frozen=True)
class Counts(System):
    """Copy numbers of a network. Outputs are those of `observe(y, p)`, or the species where it is None.

    Args:
        network: whose they are.
    """

    network: Network

    kind = "a network of reactions"
    results = MappingProxyType(
        {NO_COUNT: "a species starts at a number that is no count: whole numbers from 0 on are. Look at its start."}
    )

    def complete(self, t, y, p, inputs):
        """What `observe` gets."""
        return y

    def start(self, theta: Values, design: Design) -> Array:
        """Copy numbers `(species,)` in the order of the network."""
        start = self.network.start(theta, design.inputs)
        return jnp.stack([jnp.asarray(start[name], float) for name in self.network.names])

    def breaks(self, theta: Values, design: Design, counts: Float[AnyArray, "some species"]) -> Float[Array, " breaks"]:
        """Times since the start between which propensities change most, so that no step need lead across a pulse.

        They are looked for at `LOOKED_AT` times, in these states: a pulse that is over between two of them is not seen.
        None where propensities do not depend on time.
        """
        if not self.network.timed:
            return jnp.zeros(0)
        times = jax.lax.stop_gradient((design.times[-1] - design.start) * jnp.linspace(0.0, 1.0, LOOKED_AT))
        rates = self.network.rates_from(jax.lax.stop_gradient(theta), design)

        def at(t):
            return jax.vmap(lambda each: jnp.stack(rates(t, tuple(each))))(jnp.asarray(counts))

        change = jnp.max(jnp.abs(jnp.diff(jax.lax.map(at, times), axis=0)), axis=(1, 2))
        _, most = jax.lax.top_k(change, PULSES)
        return jnp.sort(jnp.concatenate([times[most], times[most + 1]]))

    def grid(self, theta: Values, design: Design) -> tuple[Float[Array, " grid"], Int[Array, " times"]]:
        """Times since the start at which trajectories stop, those of the design and `breaks`, and where the former are.

        Equal times are parted by rounding.
        """
        start = jax.lax.stop_gradient(self.start(theta, design))
        around = jnp.concatenate([start + jnp.arange(3.0)[:, None], start[None] + 10.0 * jnp.eye(len(start))])
        times = jax.lax.stop_gradient(design.times - design.start)
        breaks = self.breaks(theta, design, around)
        if not len(breaks):
            return times, jnp.arange(len(times))
        together = jnp.concatenate([times, breaks])
        order = jnp.argsort(together)
        apart = PARTED * jnp.max(times) * jnp.arange(len(together))
        return together[order] + apart, jnp.argsort(order)[: len(times)]

    def start_code(self, start: Array) -> Array:
        """0, or the code of a start that is no count."""
        return jnp.where(jnp.all((start >= 0) & (start == jnp.round(start))), 0, NO_COUNT)

    def observed(self, model, t, counts, theta: Values, design: Design) -> dict[str, Array]:
        """Outputs from counts `(species,)`."""
        y = dict(zip(self.network.names, counts, strict=True))
        if model.observe is None:
            return {name: count for name, count in y.items() if name in model.units}
        return dict(model.observed(t, y, theta, design.inputs))

    @property
    def settings(self) -> tuple[str, ...]:
        """What else belongs to the content of the model, as text."""
        return ()

    def functions(self, model, design: Design) -> Functions:
        def outputs(theta, design):
            counts = self.start(theta, design)
            return (
                counts,
                self.network.rates_from(theta, design)(0.0, counts),
                self.observed(model, design.start, counts, theta, design),
            )

        written = {"propensities": self.network.propensities, "observe": model.observe}
        written |= {} if self.network.initial is None else {"initial": self.network.initial}
        settings = (self.kind, repr(dict(self.network.stoichiometry)), *self.settings)
        return Functions(written, {"network": (outputs, (design,))}, settings)

    def output_shapes(self, model, theta: ValuesOrShapes, design: Design) -> tuple[dict, list[str]]:
        findings = self.network.shape_findings(theta, design)
        if findings:
            return {}, findings

        def outputs(theta):
            counts = self.start(theta, design)
            return self.observed(model, design.start, counts, theta, design)

        shapes = jax.eval_shape(outputs, theta)
        over_time = {name: (*design.times.shape, *shape.shape) for name, shape in shapes.items()}
        return {name: jax.ShapeDtypeStruct(shape, float) for name, shape in over_time.items()}, []

    def start_findings(self, model, design: Design) -> list[str]:
        return self.network.count_findings(model.space.nominal(), design)

    def translated(self, translate: Callable[[Callable, int], Callable]) -> "Counts":
        network = self.network
        # starts that are names of parameters are asked for through the function
        start = translate(network.start, 0)
        propensities = translate(network.propensities, 2 if network.timed else 1)
        species = Frozen(dict.fromkeys(network.names, 0))
        return replace(self, network=replace(network, species=species, propensities=propensities, initial=start))
