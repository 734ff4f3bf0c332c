"""What every kind of dynamics is asked for, and what one says that cannot do it.

A kind of dynamics is a subclass of `System` that overrides what it can do and names it in `capabilities`; verbs ask for
a capability, never for a type. All methods take the model, whose parameters, outputs and `observed` the dynamics serve.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ..annotations import AnyArray, Values, ValuesOrShapes
from ..capabilities import Capable
from ..design import Design
from ..errors import RESULTS
from .estimates import DERIVATIVE, Estimate

# capability -> what is missing without it, and what to do instead
CAPABILITIES = {
    "symbolic": ("equations to read", "describe its dynamics as an Ode to have them read"),
    "states": ("states to reduce", "describe its dynamics as an Ode with states by name"),
    "tolerance": ("tolerance", "its outputs are taken as exact to rounding"),
    "quasi_steady": ("fast states in a quasi-steady state", "`Model.reduced` makes such a model"),
    "closure": ("parameters from a finer scale", "`Model.closed_by` makes such a model"),
    "balance": ("balance of what it conserves", "describe it as `Coupled` parts with contents"),
    "schedule": ("doses at known times", "give every experiment inputs of the same shape"),
    "stochastic": ("random outputs", "its runs need no key"),
    "density": (
        "density of its outputs",
        "give a deterministic form of the model with noise, or give the study a `likelihood` of its own",
    ),
}


# the roles of `System.dose_functions`
DOSE_TIMES, DOSE_AMOUNTS = "times of doses", "amounts of doses"


class Run(eqx.Module):
    """Outputs name -> `(times,)` or what their dims say, the code of `RESULTS`, and the steps taken.

    A batch has a leading axis on each.
    """

    outputs: dict[str, Float[Array, "..."]]
    result: Int[Array, "*batch"]
    steps: Int[Array, "*batch"]
    # of the accepted steps, those by the implicit method: what ran
    implicit_steps: Int[Array, "*batch"]


class Outcome(NamedTuple):
    """How a solve went: code, steps, accepted implicit steps; zeros where there is nothing to count."""

    result: Array
    steps: Array
    implicit_steps: Array


class Density(NamedTuple):
    """The distribution of an output: what one measurement of it may be.

    Args:
        values: that are possible, rising, in the unit of the output; the same whatever the parameters.
        probability: of each value at each time.
    """

    values: Float[AnyArray, " values"]
    probability: Float[Array, "times values"]


class Functions(NamedTuple):
    """What the modeller wrote, and how it is called at the start of a design, to be traced.

    Args:
        written: role -> function.
        calls: role -> function of `(theta, *more)` and examples of `more`: the state, the start and the inputs of the
            design, or the design itself. What is an example here is no part of the content of the model.
        settings: what else belongs to the content of the model, as text.
    """

    written: dict[str, Callable]
    calls: dict[str, tuple[Callable, tuple]]
    settings: tuple[str, ...] = ()


# The randomness of a run, where it is not split.
WHOLE_RUN = "a single run"


class System(Capable):
    """Dynamics of one kind; what is not overridden is what a deterministic function without equations can do."""

    kind = "a system"
    known_capabilities = CAPABILITIES
    # the functions, of those given, that give the times to which a solve has to step exactly
    scheduled_events: tuple[Callable, ...] = ()
    # relative tolerance of the solves
    rtol: float = 0.0
    # what derivatives of the outputs are: "exact", "statistical", "surrogate" or "none"
    gradient = "exact"
    # whether the runs of a batch are solved one after another, so that it is for the caller to share them out to cores
    one_by_one = False
    # sentences of result codes that are its own, from `FIRST_OWN` on
    results: Mapping[int, str] = MappingProxyType({})

    @property
    def expectation_gradients(self) -> Mapping[str, Estimate]:
        """Ways to derivatives of expected values, the one that is taken by default first, and what each gives."""
        return {DERIVATIVE: Estimate.EQUATIONS}

    def with_tolerance(self, factor: float):
        """What `Model(system=)` takes, the same dynamics solved to tolerances that are `factor` times as large.

        None where solves have no tolerance.
        """
        return None

    def sentence(self, code: int) -> str:
        """What a result code means."""
        return {**RESULTS, **self.results}.get(int(code), f"code {int(code)}, for which {self.kind} has no sentence.")

    def failures(self, codes) -> dict[str, int]:
        """Sentence -> how many of the runs `codes` failed with it."""
        codes = np.asarray(codes)
        return {self.sentence(code): int(np.sum(codes == code)) for code in np.unique(codes) if code}

    def functions(self, model, design: Design) -> Functions:
        """The modeller's functions: for digests, dependence on parameters, and shipping to another process."""
        raise NotImplementedError

    def output_shapes(self, model, theta: ValuesOrShapes, design: Design) -> tuple[dict, list[str]]:
        """Shapes of the outputs over the times of the design, traced, and what is wrong with the functions."""
        raise NotImplementedError

    def written_out(self, model, design: Design | None):
        """A model of the same parameters and outputs whose equations can be read; None where there is none."""
        return None

    def start_findings(self, model, design: Design) -> list[str]:
        """What is wrong with the start at the medians of the parameters; a run that starts so has a code of its own."""
        return []

    def event_times(self, model, theta: Values, design: Design) -> Float[Array, " events"]:
        """Times, known before a run, at which it may jump or bend; in no order, traceable."""
        return jnp.zeros(0)

    def doses(self, model, theta: Values, design: Design) -> tuple[Array, Array]:
        """Times `(events,)`, and what each adds to each state `(events, states)` (capability "schedule")."""
        raise NotImplementedError

    def dose_functions(self) -> dict[str, Callable]:
        """`DOSE_TIMES`, `DOSE_AMOUNTS` -> function of parameters and inputs; `functions` has them as one, "doses"."""
        return {}

    def plan(self, model, design: Design) -> str:
        """What is decided on the host before a run is traced, such as a method; hashable."""
        return ""

    def solver(self, model, design: Design) -> tuple[str, tuple[str, ...]]:
        """What solves the model, and sentences about what it has found in the functions."""
        return "", ()

    def run(self, model, theta: Values, design: Design, key, plan: str, *, reverse: bool = False, sharper=1.0) -> Run:
        """One run, traceable and without checks.

        Args:
            plan: from `plan`.
            reverse: differentiable in reverse mode alone, where that is cheaper.
            sharper: factor of the tolerances.
        """
        raise NotImplementedError

    def stacked(self, model, theta: Values, design: Design, plan: str) -> tuple[Array, Outcome] | None:
        """Columns `(times, columns)` in one array where that saves operations; None: `run` is as good."""
        return None

    def run_many(self, model, thetas: Values, designs: Design, keys, plan: str, shared: bool):
        """Outputs `(batch, times, columns)` as by `in_columns` and `Outcome`, traceable.

        Args:
            shared: whether `designs` is one design for all.
        """
        axes = (0, None if shared else 0, None if keys is None else 0)

        def one(theta, design, key):
            return in_columns(model, design, self.run(model, theta, design, key, plan))

        return jax.vmap(one, in_axes=axes)(thetas, designs, keys)

    def random_outputs(self, model) -> tuple[str, ...]:
        """The outputs whose distribution `density` gives, so that data may be draws from it, disturbed or not."""
        return ()

    def density(self, model, theta: Values, design: Design, plan: str) -> tuple[dict[str, Density], Outcome]:
        """The distribution of each of `random_outputs`, and how the solve went, traceable (capability "density")."""
        raise NotImplementedError

    def coupled_runs(self, model, low: Values, high: Values, design: Design, keys) -> tuple[Run, Run] | None:
        """Batches of runs at two values of the parameters, each with its own law, that differ as little as can be.

        None where there is nothing better than the same keys for both.
        """
        return None

    def noise_sources(self) -> tuple[str, ...]:
        """Names of independent sources of randomness, of which a run may be made a function.

        Where there is one alone it is `WHOLE_RUN`, that of the key.
        """
        return (WHOLE_RUN,) if "stochastic" in self.capabilities else ()

    def runs_by_source(self, model, thetas: Values, design: Design, numbers: Int[AnyArray, "batch sources"]) -> Run:
        """A batch of runs, each with its stream `numbers` of each of several `noise_sources`, traceable."""
        raise NotImplementedError

    def score_findings(self, model, theta: Values, names: Sequence[str], design: Design) -> list[str]:
        """Why runs have no score with respect to the parameters `names` ("likelihood ratio")."""
        return []

    def scored_runs(
        self, model, theta: Values, names: Sequence[str], design: Design, keys
    ) -> tuple[Run, Float[Array, "batch times names"], dict[str, Array]]:
        """Runs, their scores up to each time, and slopes `(batch, times, names)` of outputs in given states.

        What is differentiated by are the parameters `names` ("likelihood ratio").
        """
        raise NotImplementedError

    def keeps_sensitivities(self, model, design: Design) -> bool:
        """Whether `run` carries sensitivities under its own error control."""
        return False

    def parameters_used(self, model, design: Design) -> tuple[str, ...]:
        """The parameters that a run depends on; the others enter only priors and noise."""
        theta, used = model.space.nominal(), set()
        for function, more in self.functions(model, design).calls.values():
            closed = jax.make_jaxpr(lambda theta, f=function, m=more: f(theta, *m))(theta)
            used |= set(names_used(closed, model.space.names))
        return tuple(name for name in model.space.names if name in used)

    def errors(self, model, theta: Values, design: Design, values, names) -> Array:
        """The error `(outputs,)` that a step may leave in outputs `(times, outputs)`; rounding alone where none is."""
        return jnp.finfo(float).eps * jnp.max(jnp.abs(values), axis=0)

    def translated(self, translate: Callable[[Callable, int], Callable]) -> object:
        """What `Model(system=)` takes, the same dynamics with each function `f` as `translate(f, place of theta)`."""
        raise NotImplementedError


def finished(model, outputs: dict, outcome: Outcome, design: Design, not_finite: int) -> Run:
    """A run from outputs, series filled up to all times.

    All are NaN where the solve failed. Where some are no finite numbers the code is `not_finite`; the others stay.
    """
    outputs = {
        name: jnp.broadcast_to(outputs[name], design.times.shape) if dims == ("time",) else jnp.asarray(outputs[name])
        for name, dims in model.output_dims.items()
    }
    solved = outcome.result == 0
    finite = jnp.all(jnp.stack([jnp.all(jnp.isfinite(values)) for values in outputs.values()]))
    result = jnp.where(solved & ~finite, not_finite, outcome.result)
    outputs = {name: jnp.where(solved & jnp.isfinite(values), values, jnp.nan) for name, values in outputs.items()}
    return Run(outputs, result, outcome.steps, outcome.implicit_steps)


# One run in one array: an output with more axes than that of time has a column for each entry, and one without time is
# the same at every time.


def in_columns(model, design: Design, run: Run) -> tuple[Array, Outcome]:
    """Outputs `(times, columns)` in the order of the model, and how the solve went."""
    count, columns = design.times.shape[-1], []
    for name, dims in model.output_dims.items():
        values = run.outputs[name]
        if dims[:1] == ("time",):
            columns.append(jnp.reshape(values, (count, -1)))
        else:
            columns.append(jnp.broadcast_to(jnp.reshape(values, (1, -1)), (count, values.size)))
    return jnp.concatenate(columns, axis=1), Outcome(run.result, run.steps, run.implicit_steps)


def from_columns(model, design: Design, columns) -> dict:
    """Outputs by name from columns `(..., times, columns)`, of JAX or of NumPy.

    The columns are the last axis, as the engine leaves them: XLA takes seconds to compile the parts of a transpose.
    """
    outputs, place, (*batch, count, _) = {}, 0, columns.shape
    for name, shape in model.entry_shapes(design).items():
        if model.output_dims[name] == ("time",):
            outputs[name], place = columns[..., place], place + 1
            continue
        size = math.prod(shape)
        own, place = columns[..., place : place + size], place + size
        if model.output_dims[name][:1] == ("time",):
            outputs[name] = own.reshape((*batch, count, *shape))
        else:
            outputs[name] = own[..., 0, :].reshape((*batch, *shape))
    return outputs


def names_used(closed, names: tuple[str, ...]) -> tuple[str, ...]:
    """Which entries of a dict of arrays, the first argument of a traced function, its results depend on."""
    needed = {id(v) for v in closed.jaxpr.outvars}
    for equation in reversed(closed.jaxpr.eqns):
        if any(id(v) in needed for v in equation.outvars):
            needed |= {id(v) for v in equation.invars}
    # a dict of arrays is flattened in the order of its sorted keys
    return tuple(name for name, v in zip(sorted(names), closed.jaxpr.invars, strict=False) if id(v) in needed)
