"""What a modeller says about a model, and what one run of it gives."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING

import jax.numpy as jnp
import numpy as np

from ..design import Design
from ..distributions import Distribution
from ..distributions.expressions import Expression
from ..errors import InputError
from ..initial_value.array_states import Arrays, ObserveArrays, state_shapes
from ..names import BAND, DRAWS, MEASUREMENT, variable_findings
from ..space import Space
from ..system import Ode
from ..systems import Run, Simulator, System, in_scalars, system_of
from ..systems.closure import closed
from ..systems.reduced import quasi_steady_state, split_states
from ..units import unit_finding
from .axes import SERIES, coords_findings, dataset, dims_findings
from .findings import output_shapes
from .measurements import noise_expressions, noise_findings

if TYPE_CHECKING:
    import xarray as xr

GRADIENTS = ("exact", "statistical", "surrogate", "none")


@dataclass(frozen=True, eq=False)
class Model:
    """A mechanistic model with everything a modeller says about it.

    Args:
        space: its parameters.
        system: the dynamics: an `Ode`, or any `systems.System`. An `Ode` with arrays among its states is kept as the
            same system in scalars (see `initial_value.array_states`): `u` of shape (3,) is `u_0`, `u_1` and `u_2` in
            everything that is said about states, while the author's functions get and return `u`.
        observe: `observe(y, p)` -> dict of outputs, at one instant. It may also read the time and the inputs, under
            these names: `observe(y, p, t)`, `observe(y, p, inputs)`, `observe(y, p, t, inputs)`. None: the dynamics
            give the outputs themselves, as a simulator does.
        units: output -> unit; its keys are the outputs.
        noise: output -> distribution of a measurement, whose arguments are numbers, names of parameters, outputs or
            `columns`, or formulas of these, `Normal("C", "a + b*C")`; outputs without an entry are not measured.
        name: for reports.
        gradient: "exact", "statistical", "surrogate" or "none", printed with every model; default that of the dynamics.
        time_unit: unit of the times in designs and data.
        dims: output -> names of its axes where it is not one number at each time, ("time",): () is one number for the
            whole run, ("time", "x") a row at each time. What is measured is ("time",) or ().
        increments: outputs that grow with time, of which each value is the increment since the time before, in a
            design or among the data of that output; the first one since the start. New cases in a week are those of
            `observe` returning all cases so far.
        columns: name -> unit of columns of the table of data that noise may name, such as a known standard error.
        coords: axis, one of those in dims -> its coordinates, numbers or names, in the order of the outputs' entries;
            an axis without any is counted from 0. `dataset` puts them on runs.
        nominal: values of some free parameters that are known to be sensible: where checks are made, and searches and
            first tries begin, instead of at prior medians. They change no result that has converged.

    Raises:
        InputError: with every unit that does not parse, every name that does not exist or cannot be stored.
    """

    space: Space
    system: Ode | System
    observe: Callable | None = None
    units: Mapping[str, str] = field(default_factory=dict)
    noise: Mapping[str, Distribution] = field(default_factory=dict)
    name: str = ""
    gradient: str = ""
    time_unit: str = ""
    dims: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    increments: Sequence[str] = ()
    columns: Mapping[str, str] = field(default_factory=dict)
    coords: Mapping[str, Sequence[float] | Sequence[str] | np.ndarray] = field(default_factory=dict)
    nominal: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self):
        subject = f"model {self.name!r}" if self.name else "model"
        if self.nominal:
            try:
                object.__setattr__(self, "space", self.space.starting_at(self.nominal))
            except InputError as error:
                raise InputError(f"{subject}: nominal", error.findings) from None
        system_of(self.system)  # or says what is wrong with it
        increments = (self.increments,) if isinstance(self.increments, str) else tuple(self.increments)
        object.__setattr__(self, "increments", increments)
        if not isinstance(self.units, Mapping) or not self.units:
            raise InputError(
                f"model {self.name!r}" if self.name else "model",
                [
                    f"units are {self.units!r}; give a unit for every output, as in {{'C': 'mg/L'}}, and '' for "
                    "dimensionless."
                ],
            )
        findings = [f"output {name!r}: {f}" for name, unit in self.units.items() if (f := unit_finding(unit))]
        findings += [f"time: {f}" for f in [unit_finding(self.time_unit)] if f]
        findings += noise_findings(self)
        findings += [f"{name!r} is both a parameter and an output." for name in self.units if name in self.space]
        findings += variable_findings("an output", self.units, (*DRAWS, *BAND))
        findings += [
            f"the output {name!r} is called like a coordinate of the output {other!r}; rename one of them."
            for other in self.units
            for name in (f"{other}_{column}" for column in MEASUREMENT)
            if name in self.units
        ]
        findings += dims_findings(self) + coords_findings(self)
        if self.gradient and self.gradient not in GRADIENTS:
            findings.append(f"gradient status {self.gradient!r}; known are {', '.join(GRADIENTS)}.")
        if findings:
            raise InputError(f"model {self.name!r}" if self.name else "model", findings)
        system, observe = in_scalars(self.system, self.observe, self.space.names, (*self.units,))
        object.__setattr__(self, "system", system)
        object.__setattr__(self, "observe", observe)
        object.__setattr__(self, "gradient", self.gradient or system_of(system).gradient)

    @classmethod
    def from_function(
        cls,
        space: Space,
        simulate: Callable,
        units: Mapping[str, str] = MappingProxyType({}),
        noise: Mapping[str, Distribution] | None = None,
        stochastic: bool = False,
        name: str = "",
        gradient: str = "exact",
        time_unit: str = "",
        results: Mapping[int, str] | None = None,
        dims: Mapping[str, tuple[str, ...]] | None = None,
        increments: Sequence[str] = (),
        columns: Mapping[str, str] = MappingProxyType({}),
        coords: Mapping[str, Sequence[float] | Sequence[str] | np.ndarray] | None = None,
        nominal: Mapping[str, float] | None = None,
    ) -> "Model":
        """A model from any JAX function `simulate(theta, design, key)` -> dict of outputs.

        An output is `(times,)`, or a scalar that is the same at all of them, or what its `dims` say.

        Where a run can fail, the function returns `(outputs, code)`: 0, a code of `RESULTS` such as that of a steady
        state, a fold or a cycle, or one of its own from 100 on, whose sentence is in `results`.
        """
        system = Simulator(simulate, stochastic, results or {})
        # a proxy of a dict cannot be sent to another process
        more = (increments, dict(columns), coords or {}, nominal or {})
        return cls(space, system, None, units, noise or {}, name, gradient, time_unit, dims or {}, *more)

    def reparametrised(self, combinations: Mapping[str, str], **settings) -> "Model":
        """The same outputs from combinations of parameters that can be known.

        Args:
            combinations: new name -> combination of old parameters, such as {"kg": "k*g"};
                `structural_identifiability` suggests some.
            settings: priors, design and seed, see `uqbench.model.reparametrisation.reparametrised`.
        """
        # the algebra that it needs is loaded only when it is asked for
        from .reparametrisation import reparametrised

        return reparametrised(self, combinations, **settings)

    def closed_by(
        self,
        space: Space,
        closure: Callable,
        *,
        stochastic: bool = False,
        results: Mapping[int, str] = MappingProxyType({}),
        name: str | None = None,
        gradient: str | None = None,
    ) -> "Model":
        """The same outputs with some parameters given by a closure: functions of parameters at a finer scale.

        So a diffusivity of a tissue is made of those of its cells, and what is measured in the tissue speaks of them.
        The closure is evaluated once for each run, whatever it costs and however many steps the run takes.

        Args:
            space: parameters of the finer scale, and those of this model that the closure does not give. Fixed
                parameters of this model keep their values where the space has none.
            closure: `closure(p)` -> dict of parameters of this model, in JAX; or `(dict, code)` where it can fail.
            stochastic: whether the closure is `closure(p, key)`, with a fine scale that differs from run to run.
            results: code -> sentence, of codes of the closure's own (from 100 on).
            name: default this model's own with " closed". gradient: default that of this model.

        Raises:
            InputError: parameters of both scales whose units differ, codes that are not the closure's own; at the
                first run, parameters that are missing or unknown.

        Example:
            >>> from uqbench import LogNormal, Normal, Space, epistemic
            >>> from forward_models.secretion import steady
            >>> fine = Space(
            ...     s=epistemic(LogNormal(0.0, 0.3), steady.space["s"].unit),
            ...     copies=epistemic(Normal(100.0, 20.0)),
            ...     k=steady.space["k"],
            ... )
            >>> steady.closed_by(fine, lambda p: {"q": p["copies"] / 10.0}).outputs
            ('C',)
        """
        system = closed(self, space, closure, stochastic=stochastic, results=results)
        left = {each: value for each, value in self.nominal.items() if each in space.free}
        return replace(
            self,
            space=space,
            system=system,
            observe=None,
            name=f"{self.name} closed".strip() if name is None else name,
            gradient=self.gradient if gradient is None else gradient,
            nominal=left,
        )

    def reduced(self, fast: Sequence[str], *, space: Space | None = None, name: str | None = None) -> "Model":
        """The same outputs with the fast states in their quasi-steady state, see `time_scales.slow_fast`.

        Verbs decide for each study whether the time scales allow it, and say so in the tree.

        Args:
            fast: names of the fast states.
            space: of the reduced model, where parameters fall out of it; default the same.
            name: default the model's own with " reduced".

        Raises:
            InputError: no system; a set of fast states that is empty, unknown or whole, or names one twice.
        """
        subject = f"model {self.name!r}: reduced"
        self.dynamics.require("states", subject)
        states = tuple(state_shapes(self.system, self.space.names))
        if states and (findings := split_states(states, fast)[-1]):
            raise InputError(subject, findings)
        system = quasi_steady_state(self.system, fast)
        name = f"{self.name} reduced".strip() if name is None else name
        left = self.space if space is None else space
        nominal = {each: value for each, value in self.nominal.items() if each in left.free}
        return replace(self, space=left, system=system, name=name, nominal=nominal)

    def observed(self, t, y, p, inputs):
        """Outputs at one instant from the states: the author's `observe`, given what it asks for."""
        more = {"t": t, "inputs": inputs}
        asked = {name: more[name] for name in inspect.signature(self.observe).parameters if name in more}
        return self.observe(self.system.complete(t, y, p, inputs), p, **asked)

    def observed_entries(self, t, y, p, inputs):
        """The same with one scalar for each entry of an array."""
        found = self.observed(t, y, p, inputs)
        shapes = {name: jnp.shape(value) for name, value in found.items() if name not in self.series}
        return Arrays(tuple(shapes.items())).scalars(found)

    def only(self, outputs: Sequence[str]) -> "Model":
        """The same model with some of its outputs alone: the others are not computed, so they cannot fail a run.

        Args:
            outputs: names, in any order; what their noise refers to stays as well.

        Returns:
            the model itself where these are all, or where the outputs are made by a `System` of one's own.

        Example:
            >>> from forward_models.receptor_tf import model
            >>> model.only(model.outputs) is model
            True
        """
        asked = {*outputs, *(name for output in outputs if output in self.noise for name in self.noise_names(output))}
        kept = tuple(name for name in self.outputs if name in asked)
        if kept == self.outputs or (self.observe is None and not isinstance(self.system, Simulator)):
            return self
        return _with_outputs(self, kept)

    @property
    def dynamics(self) -> System:
        """The system as what runs, and can be asked what it can do."""
        return system_of(self.system)

    @property
    def stochastic(self) -> bool:
        """Whether every run needs a key."""
        return "stochastic" in self.dynamics.capabilities

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs, in the order of `units`."""
        return tuple(self.units)

    @property
    def noise_expressions(self) -> dict[str, Expression]:
        """Text -> formula, of the arguments of the noise that are formulas of names."""
        return noise_expressions(self)

    def noise_names(self, output: str) -> tuple[str, ...]:
        """Parameters, outputs and columns that the noise of an output depends on, those in formulas too."""
        formulas = self.noise_expressions
        names = [formulas[name].names if name in formulas else (name,) for name in self.noise[output].names]
        return tuple(dict.fromkeys(name for each in names for name in each))

    @property
    def accumulated(self) -> "Model":
        """The same outputs without `increments`: what is counted since the start."""
        return _accumulated(self) if self.increments else self

    @property
    def output_dims(self) -> dict[str, tuple[str, ...]]:
        """Names of the axes of every output."""
        return {name: tuple(self.dims.get(name, SERIES)) for name in self.units}

    @property
    def series(self) -> tuple[str, ...]:
        """Outputs that are one number at each time, or one for all times: those of which there may be data."""
        return tuple(name for name, dims in self.output_dims.items() if dims in ((), SERIES))

    def entry_shapes(self, design: Design) -> dict[str, tuple[int, ...]]:
        """The shape of each output, its axis of time left out."""
        if len(self.series) == len(self.units):
            return dict.fromkeys(self.units, ())
        # where the functions are wrong there is none, which `output_findings` says
        shapes = {**dict.fromkeys(self.units, ()), **output_shapes(self, design)}
        return {
            name: () if name in self.series else shapes[name][1:] if dims[0] == "time" else shapes[name]
            for name, dims in self.output_dims.items()
        }

    def dataset(self, run: Run, design: Design) -> "xr.Dataset":
        """The outputs of a run, or of a batch of runs, by the names and coordinates of their axes, with their units.

        Args:
            run: from `evaluate` or `evaluate_many`.
            design: the one that it was run with.

        Returns:
            a variable for each output, over `run` first where there are several; coordinates `time` and those in
            `coords`; `result`, the code.

        Example:
            >>> from uqbench import Design, evaluate
            >>> from forward_models.receptor_tf import model
            >>> design = Design([0.0, 1.0])
            >>> model.dataset(evaluate(model, model.space.nominal(), design), design).time.values.tolist()
            [0.0, 1.0]
        """
        return dataset(self, run, design)

    @property
    def measured(self) -> tuple[str, ...]:
        """Outputs that data may be of: those with noise, and those whose distribution the dynamics give."""
        return tuple(dict.fromkeys((*self.noise, *self.dynamics.random_outputs(self))))

    def __repr__(self) -> str:
        return f"Model({self.name or 'unnamed'}: outputs {', '.join(self.outputs)}; gradient {self.gradient})"


@dataclass(frozen=True)
class _Some:
    """Some of the outputs of `observe`; of a simulator's own where it is None."""

    observe: Callable | None
    names: tuple[str, ...]

    @property
    def __signature__(self) -> inspect.Signature:
        # what `observe` asks for
        return inspect.signature(self.observe or (lambda y, p: y))

    def __call__(self, y, p, **asked):
        found = y if self.observe is None else self.observe(y, p, **asked)
        return {name: found[name] for name in self.names}


# One object for the same outputs of the same model: compiled runs belong to an object.
@lru_cache(maxsize=64)
def _with_outputs(model: Model, names: tuple[str, ...]) -> Model:
    def some(given: Mapping) -> dict:
        return {name: given[name] for name in names if name in given}

    units, noise, dims = some(model.units), some(model.noise), some(model.dims)
    increments = tuple(name for name in model.increments if name in names)
    named = {name for each in noise for name in model.noise_names(each)}
    columns = {name: unit for name, unit in model.columns.items() if name in named}
    axes = {axis for each in dims.values() for axis in each}
    coords = {axis: values for axis, values in model.coords.items() if axis in axes}
    if isinstance(model.observe, ObserveArrays):
        observe: Callable = replace(model.observe, function=_Some(model.observe.function, names))
    else:
        observe = _Some(model.observe, names)
    settings = {"increments": increments, "columns": columns, "coords": coords}
    return replace(model, observe=observe, units=units, noise=noise, dims=dims, **settings)


@lru_cache(maxsize=64)
def _accumulated(model: Model) -> Model:
    return replace(model, increments=())
