"""Parameters: what each is, how it varies, and the maps between the unit cube, vectors and named values.

A prior, a variability between units and a fixed number are entries of one ordered mapping. The distribution of an entry
may name earlier entries, alone or in formulas, which makes hierarchies without a second language:

    Space(median=epistemic(LogNormal(0.0, 1.0), "1/h"), sd=epistemic(HalfNormal(1.0)),
          ka=aleatory(LogNormal(median="median", sigma="sd"), "1/h"))
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .annotations import AnyArray, Numbers, Values, ValuesOrLists
from .compiling import LITTLE_EFFORT
from .distributions import Distribution
from .distributions.expressions import expression_findings, expression_of
from .errors import InputError, nearest
from .interop.chaospy import ChaospyLike, from_chaospy
from .interop.salib import from_salib
from .names import DRAWS, variable_findings
from .units import unit_finding

# Values of parameters as the library gives them: arrays, never floats.
Theta = dict[str, AnyArray]
ROLES = ("epistemic", "aleatory", "fixed")


@dataclass(frozen=True)
class Parameter:
    """One parameter: its distribution (or number, when fixed), unit, role and a sentence.

    `epistemic` is what we do not know (one true value), `aleatory` what differs from unit to unit, `fixed` a number
    that is taken as known, or a `covariate`, of which each unit has its own. `by` is a column of the table of data for
    each of whose values an epistemic parameter has one.
    """

    dist: Distribution | float
    unit: str = ""
    role: str = "epistemic"
    doc: str = ""
    covariate: bool = False
    by: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters its distribution refers to, also in formulas."""
        if not isinstance(self.dist, Distribution):
            return ()
        formulas = {name: expression_of(name) for name in self.dist.names}
        return tuple(
            dict.fromkeys(other for name, each in formulas.items() for other in (each.names if each else (name,)))
        )


def epistemic(dist: Distribution, unit: str = "", doc: str = "", by: str = "") -> Parameter:
    """A parameter with one true value that we do not know; `dist` is its prior.

    Args:
        by: a column of the table of data, such as "batch" or "experiment", for each of whose values, its levels, there
            is a true value of its own; `dist` is the prior of each of them. If it names other parameters, `Normal(0.0,
            "between")`, it is the distribution of the levels. Noise may name such a parameter, the equations may not:
            see `levels.with_levels`.

    Example:
        >>> from uqbench import Normal
        >>> epistemic(Normal(1.0, 2.0), "mg", by="gel").by
        'gel'
    """
    return Parameter(dist, unit, "epistemic", doc, by=by)


def aleatory(dist: Distribution, unit: str = "", doc: str = "") -> Parameter:
    """A parameter that differs between units (cells, subjects); `dist` is its distribution over them."""
    return Parameter(dist, unit, "aleatory", doc)


def fixed(value: float, unit: str = "", doc: str = "") -> Parameter:
    """A parameter whose value is taken as known."""
    return Parameter(value, unit, "fixed", doc)


def covariate(reference: float, unit: str = "", doc: str = "") -> Parameter:
    """A number known of each unit (a weight, an age), which distributions and the model may name.

    Args:
        reference: the value of a unit of which it is not known, as one to come, for which predictions are made. Units
            with data have it in a column of the table, or among the inputs of their experiments, of the same name.
    """
    return Parameter(reference, unit, "fixed", doc, covariate=True)


class Space(Mapping[str, Parameter]):
    """Ordered mapping name -> `Parameter`.

    Args:
        parameters: one mapping, or keywords. A distribution may name only entries that stand before it.

    Raises:
        InputError: with every finding: names that cannot be stored, unknown or later names, roles, units that do not
            parse.

    Example:
        >>> from uqbench import Normal, Space, epistemic
        >>> space = Space(a=epistemic(Normal(0.0, 2.0), "mg"))
        >>> float(space.from_cube([0.5])["a"])
        0.0
    """

    def __init__(self, parameters: Mapping[str, Parameter] | None = None, /, **more: Parameter):
        self._parameters = {**(parameters or {}), **more}
        # what `starting_at` has been given
        self.start: dict[str, float] = {}
        findings = variable_findings("a parameter", self._parameters, DRAWS)
        findings += [finding for name in self._parameters for finding in self._findings(name)]
        if findings:
            raise InputError("space", findings)
        self.names = tuple(self._parameters)
        self.epistemic, self.aleatory, self.fixed = (self._of(role) for role in ROLES)
        self.free = tuple(name for name in self.names if name not in self.fixed)
        self.covariates = tuple(name for name, parameter in self.items() if parameter.covariate)

    @classmethod
    def from_salib(cls, problem: Mapping) -> "Space":
        """The space of a SALib problem, every parameter `epistemic`.

        Its quantiles are SALib's own scaling of the unit cube. Groups are not part of a space: see
        `uqbench.interop.salib_groups`.

        Args:
            problem: a dict, or a `ProblemSpec`, with `names`, `bounds` and optionally `num_vars`, `dists` ("unif",
                "logunif", "norm", "lognorm", "truncnorm"; "weibull" only where it is exponential) and `groups`.

        Raises:
            InputError: with every finding; distributions without a counterpart are named.

        Example:
            >>> Space.from_salib({"names": ["k"], "bounds": [[0.0, 2.0]]})["k"].dist
            Uniform(lower=0, upper=2)
        """
        return cls({name: epistemic(dist) for name, dist in from_salib(problem).items()})

    @classmethod
    def from_chaospy(cls, joint: ChaospyLike, names: Sequence[str]) -> "Space":
        """The space of a chaospy joint with independent components, every parameter `epistemic`.

        Args:
            joint: `chaospy.J(...)` of Uniform, Normal, LogNormal, Exponential, Gamma, Beta, LogUniform, Reciprocal,
                TruncNormal, StudentT, Cauchy, Laplace, FoldedNormal or FoldedCauchy at 0, or one of these alone.
            names: one per component.

        Raises:
            InputError: with every finding: dependent components, families without a counterpart, and distributions
                whose quantiles in chaospy differ from their translation.

        Example:
            >>> import chaospy
            >>> Space.from_chaospy(chaospy.J(chaospy.Normal(1, 2)), ["a"])["a"].dist
            Normal(mu=1, sigma=2)
        """
        return cls({name: epistemic(dist) for name, dist in from_chaospy(joint, names).items()})

    def __getitem__(self, name: str) -> Parameter:
        return self._parameters[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._parameters)

    def __len__(self) -> int:
        return len(self._parameters)

    def __reduce__(self):
        # compiled functions stay behind when a space is sent to another process
        return _made, (self._parameters, self.start)

    def __repr__(self) -> str:
        rows = [
            f"    {name}={p.role}({p.dist!r}, {p.unit!r}{f', by={p.by!r}' if p.by else ''}),"
            for name, p in self.items()
        ]
        return "\n".join(["Space(", *rows, ")"])

    def only(self, role: str) -> "Space":
        """The entries of one role; what they name must be among them."""
        return Space({name: p for name, p in self.items() if p.role == role})

    def from_cube(self, u: Float[AnyArray, "*batch free"] | Sequence[float]) -> Theta:
        """Values at a point of the unit cube, by conditional quantiles in order (Rosenblatt 1952,
        doi:10.1214/aoms/1177729394).

        Args:
            u: `(..., len(free))` in (0, 1), columns in the order of `free`.

        Returns:
            every parameter, fixed ones included, each `(...)`.
        """
        traced = isinstance(u, jax.core.Tracer)
        u = u.astype(float) if traced else np.asarray(u, dtype=float)
        if u.shape[-1:] != (len(self.free),):
            raise InputError("unit cube", [f"the last axis has length {u.shape[-1:]}, expected {len(self.free)}."])
        if traced:
            return self._quantiles(u, jnp.asarray)
        # Families are compiled for whole numbers of rows that are powers of two, whatever the number of points.
        rows = u.reshape(-1, len(self.free)) if self.free else np.zeros((int(np.prod(u.shape[:-1])), 0))
        padded = np.full((1 << max(len(rows) - 1, 0).bit_length(), len(self.free)), 0.5)
        padded[: len(rows)] = rows
        theta = self._quantiles(padded, np.asarray)
        return {name: jnp.asarray(value[: len(rows)].reshape(u.shape[:-1])) for name, value in theta.items()}

    def _quantiles(self, u: AnyArray, array: Callable) -> Theta:
        """Conditional quantiles at `u` `(..., free)`; `array` makes of each an array of NumPy or of JAX."""
        theta: Theta = {}
        for columns, dist, arguments in self._families:
            values = array(_family_method(dist, "ppf", u[..., columns], arguments))
            theta |= {self.free[column]: values[..., k] for k, column in enumerate(columns)}
        for name in self.fixed:
            theta[name] = array(np.full(u.shape[:-1], float(self[name].dist)))
        if columns := self._conditional:
            known = {name: theta[name] for name in self._named if name in theta}
            found = self._conditional_quantiles(u[..., columns], known)
            theta |= {name: array(value) for name, value in found.items()}
        return {name: theta[name] for name in self.names}

    @cached_property
    def _families(self) -> list[tuple[list[int], Distribution, dict[str, np.ndarray]]]:
        """Free parameters whose arguments are numbers, of one family each: their columns, and the arguments of all.

        They are stacked outside of what is compiled, which then knows a family but neither its members nor their number
        as separate operations.
        """
        members: dict[tuple, list[int]] = {}
        for column, name in enumerate(self.free):
            if not self[name].names:
                members.setdefault((type(self[name].dist), *self[name].dist.arguments), []).append(column)
        return [(columns, *_stacked([self[self.free[k]].dist for k in columns])) for columns in members.values()]

    @cached_property
    def _conditional(self) -> list[int]:
        """Columns of the free parameters whose distribution names others."""
        return [column for column, name in enumerate(self.free) if self[name].names]

    @cached_property
    def _named(self) -> tuple[str, ...]:
        """The parameters that a distribution names."""
        return tuple({other: None for column in self._conditional for other in self[self.free[column]].names})

    @cached_property
    def _conditional_quantiles(self):
        """The quantiles given other parameters as one compiled function: one by one they are slow to dispatch."""

        @jax.jit
        def quantiles(u, theta):
            found: Theta = {}
            for k, column in enumerate(self._conditional):
                name = self.free[column]
                found[name] = self[name].dist.ppf(u[..., k], theta | found)
            return found

        return quantiles

    def sample(self, key: Array, shape: tuple[int, ...] = ()) -> Theta:
        """Independent draws from the joint distribution, each parameter of shape `shape`."""
        inside = _inside_cube if isinstance(key, jax.core.Tracer) else _compiled_inside_cube
        return self.from_cube(inside(key, (*shape, len(self.free))))

    def new_units(self, key: Array, known: Theta, shape: tuple[int, ...]) -> Theta:
        """Independent draws of the aleatory parameters given all others, each of shape `shape`.

        Args:
            known: values of the others, of shapes that broadcast to `shape`.
        """
        named = {other for name in self.aleatory for other in self[name].names} - {*self.aleatory}
        return self._units(key, {name: np.asarray(known[name], float) for name in sorted(named)}, shape)

    @cached_property
    def _units(self):
        """`new_units` as one compiled function."""

        @partial(jax.jit, static_argnames="shape", compiler_options=LITTLE_EFFORT)
        def units(key, known, shape):
            found = {name: jnp.broadcast_to(value, shape) for name, value in known.items()}
            for name, now in zip(self.aleatory, jax.random.split(key, max(len(self.aleatory), 1)), strict=False):
                found[name] = distribution_of(self, name).sample(now, () if self[name].names else shape, found)
            return {name: found[name] for name in self.aleatory}

        return units

    def log_prior(self, theta: Values) -> Array:
        """Sum of the log densities of the free parameters at `theta`; per-unit values are summed over their axes."""
        terms = [jnp.sum(self[name].dist.logpdf(theta[name], theta)) for name in self.free]
        return sum(terms, jnp.zeros(()))

    def conditional_laws(self, theta: Values) -> tuple[Float[Array, "*batch free"], Float[Array, "*batch free"]]:
        """Log-density and distribution function of every free parameter at `theta`, given those that it names."""
        x = jnp.stack(jnp.broadcast_arrays(*(jnp.asarray(theta[name], float) for name in self.free)), axis=-1)
        density, probability = jnp.zeros_like(x), jnp.zeros_like(x)
        for columns, dist, arguments in self._families:
            columns = np.array(columns)
            density = density.at[..., columns].set(_family_method(dist, "logpdf", x[..., columns], arguments))
            probability = probability.at[..., columns].set(_family_method(dist, "cdf", x[..., columns], arguments))
        for column in self._conditional:
            dist = self[self.free[column]].dist
            density = density.at[..., column].set(dist.logpdf(x[..., column], theta))
            probability = probability.at[..., column].set(dist.cdf(x[..., column], theta))
        return density, probability

    def nominal(self) -> Theta:
        """The value of every parameter to begin with: that of `starting_at`, else its median given those before it."""
        return dict(self._nominal)

    @cached_property
    def _nominal(self) -> Theta:
        # evaluated also when first asked for inside a trace
        with jax.ensure_compile_time_eval():
            medians = self.from_cube(jnp.full(len(self.free), 0.5))
            if not self.start:
                return medians
            theta: Theta = {}
            for name, parameter in self.items():
                if name in self.start:
                    theta[name] = jnp.asarray(self.start[name], float)
                else:
                    # another median where one that it names is not at its own
                    theta[name] = parameter.dist.ppf(0.5, theta) if parameter.names else medians[name]
            return theta

    def starting_at(self, values: Values) -> "Space":
        """The same space with these values in `nominal`, from where searches and checks begin.

        Args:
            values: of some of the free parameters, numbers.

        Raises:
            InputError: parameters that are unknown or fixed; values that are no numbers, or where the prior has no
                density.

        Example:
            >>> from uqbench import Normal, Space, epistemic
            >>> space = Space(a=epistemic(Normal(0.0, 2.0)), b=epistemic(Normal("a", 1.0))).starting_at({"a": 3.0})
            >>> float(space.nominal()["b"])
            3.0
        """
        findings = [
            f"{name!r} is no free parameter; {nearest(name, self.free)}" for name in values if name not in self.free
        ]
        findings += [
            f"the value of {name!r} is {value!r}; give a finite number."
            for name, value in values.items()
            if not _is_number(value)
        ]
        if not findings:
            found = _with_start(self, values)
            theta = found.nominal()
            findings = [
                f"the value of {name!r} is {float(theta[name]):g}, where {self[name].dist!r} has no density."
                for name in values
                if not np.isfinite(float(self[name].dist.logpdf(theta[name], theta)))
            ]
        if findings:
            raise InputError("nominal values", findings)
        return found

    def vector(self, theta: Values) -> Float[Array, "*batch free"]:
        """Named values as `(..., len(free))` in the order of `free`."""
        return jnp.stack(jnp.broadcast_arrays(*(jnp.asarray(theta[name], float) for name in self.free)), axis=-1)

    def theta(self, vector: Float[AnyArray, "*batch free"] | Sequence[float]) -> Theta:
        """The inverse of `vector`, with the fixed parameters filled in."""
        columns = dict(zip(self.free, jnp.moveaxis(jnp.asarray(vector, dtype=float), -1, 0), strict=True))
        return self.complete(columns)

    def complete(self, theta: ValuesOrLists) -> Theta:
        """`theta` as float arrays in the order of the space, fixed parameters filled in.

        Raises:
            InputError: naming every parameter that is missing or unknown.
        """
        findings = [f"unknown parameter {name!r}; {nearest(name, self.names)}" for name in theta if name not in self]
        findings += [f"parameter {name!r} has no value." for name in self.free if name not in theta]
        if findings:
            raise InputError("theta", findings)
        return {name: _float_array(theta.get(name, parameter.dist)) for name, parameter in self.items()}

    def _of(self, role: str) -> tuple[str, ...]:
        return tuple(name for name, parameter in self.items() if parameter.role == role)

    def _findings(self, name: str) -> list[str]:
        parameter = self._parameters[name]
        if not isinstance(parameter, Parameter):
            return [f"{name!r} is {parameter!r}; wrap it in epistemic(...), aleatory(...) or fixed(...)."]
        findings = []
        if parameter.role not in ROLES:
            findings.append(f"{name!r} has role {parameter.role!r}; roles are {', '.join(ROLES)}.")
        if not isinstance(parameter.by, str):
            findings.append(f"{name!r} has by={parameter.by!r}; give the name of a column of the table of data.")
        elif parameter.by and parameter.role != "epistemic":
            findings.append(f"{name!r} is {parameter.role}; only an epistemic parameter has values by a column.")
        if finding := unit_finding(parameter.unit):
            findings.append(f"{name!r}: {finding}")
        if parameter.role == "fixed":
            if isinstance(parameter.dist, Distribution):
                findings.append(f"{name!r} is fixed but has a distribution; give a number.")
            return findings
        if not isinstance(parameter.dist, Distribution):
            return [*findings, f"{name!r} is {parameter.role} but has no distribution; give one, or use fixed(...)."]
        if parameter.dist.of_draws:
            findings.append(f"{name!r} has the distribution {parameter.dist!r}, which is noise of an output alone.")
        for text in parameter.dist.names:
            formula = expression_of(text)
            findings += [
                f"the distribution of {name!r}: {each}, in {text!r}."
                for each in (expression_findings(formula) if formula else [])
            ]
        order = list(self._parameters)
        for other in parameter.names:
            if other not in self._parameters:
                findings.append(
                    f"the distribution of {name!r} names {other!r}, which does not exist; "
                    f"{nearest(other, [n for n in order if n != name])}"
                )
            elif order.index(other) >= order.index(name):
                findings.append(f"the distribution of {name!r} names {other!r}, which comes later; move it before.")
            elif parameter.role == "epistemic" and self._parameters[other].role == "aleatory":
                findings.append(
                    f"the prior of {name!r} names {other!r}, which differs between units; "
                    "a single true value cannot depend on it."
                )
        return findings


def distribution_of(space: Space, name: str) -> Distribution:
    """That of a parameter which is not fixed."""
    return cast(Distribution, space[name].dist)


def _stacked(dists: Sequence[Distribution]) -> tuple[Distribution, dict[str, np.ndarray]]:
    """One distribution of a family, its arguments by name, and arrays with those of all."""
    names = {argument: f"{argument} of each" for argument in dists[0].arguments}
    values = {name: np.array([dist.arguments[argument] for dist in dists]) for argument, name in names.items()}
    return type(dists[0])(**names), values


def _inside_cube(key: Array, shape: tuple[int, ...]) -> Array:
    """Uniform points strictly inside the unit cube: quantiles of unbounded families are infinite on its faces."""
    return jax.random.uniform(key, shape, minval=jnp.finfo(float).tiny)


_compiled_inside_cube = jax.jit(_inside_cube, static_argnames="shape", compiler_options=LITTLE_EFFORT)


@partial(jax.jit, static_argnames=("dist", "method"))
def _family_method(dist: Distribution, method: str, x: Array, arguments: dict[str, Array]) -> Array:
    """The `method` of members of a family, which are on the last axis; compiled for all spaces together."""
    return getattr(dist, method)(x, arguments)


def _float_array(value: Numbers | Sequence[float]) -> AnyArray:
    # an array that is one already passes as it is; numpy's conversion of anything else is not dispatched to a device
    if isinstance(value, jax.Array):
        return value if value.dtype == float else value.astype(float)
    return np.asarray(value, dtype=float)


def _is_number(value) -> bool:
    return np.shape(value) == () and np.asarray(value).dtype.kind in "fiu" and bool(np.isfinite(np.asarray(value)))


def _with_start(space: Space, values: Values) -> Space:
    return _made(dict(space), {name: float(np.asarray(value)) for name, value in values.items()})


def _made(parameters: Mapping[str, Parameter], start: Mapping[str, float]) -> Space:
    space = Space(parameters)
    space.start = dict(start)
    return space
