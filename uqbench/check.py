"""What every author's model must satisfy, checked in one go."""

import pickle
import warnings
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from .design import Design
from .distributions import impossible_arguments
from .errors import InputError, Result, SeparationWarning
from .model import Model, evaluate, evaluate_many, noise_values_of, output_findings, over_time, running
from .system import AnyInput

PRIOR_DRAWS = 32
SYMBOL_TOLERANCE = 1e-13
# Central differences of a solve that is good to about 1e-8 cannot do better.
GRADIENT_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Check:
    """What was measured of a model that passed.

    Args:
        name: of the model.
        gradient: its gradient status.
        gradient_error: largest difference between its derivatives and central differences, relative to the largest
            derivative of the same output; NaN where the status promises none.
        symbol_error: largest relative difference between the equations that are read and the numbers; NaN without a
            system, or where it has operations without an exact algebraic meaning.
        failed: of `draws` runs from the prior.
        reasons: why they failed.
        solver: "native engine", or "JAX" and why the functions have no kernels; empty without a system.
        jumps: sentences about the jumps that were found in the right-hand side without being named.
        unread: why the equations cannot be read as symbols.
        without_value: outputs that are not measured and have no finite value in some run from the prior or at its
            medians; such a run has not failed.
        separation: why the time scales of a reduced model are not far enough apart at the medians; empty where they
            are, or where nothing is reduced.
    """

    name: str
    gradient: str
    gradient_error: float
    symbol_error: float
    failed: int
    draws: int
    reasons: tuple[str, ...]
    solver: str = ""
    jumps: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    without_value: tuple[str, ...] = ()
    separation: str = ""

    def __str__(self) -> str:
        lines = [
            f"{f'the model {self.name!r}' if self.name else 'the model'} passes every check",
            f"  gradient status: {self.gradient}; difference to central differences {self.gradient_error:.1e}",
            f"  symbols against numbers: {self.symbol_error:.1e}",
            *_first(self.unread),
            f"  prior runs that failed: {self.failed} of {self.draws}",
            *(f"    {reason}" for reason in self.reasons),
            *([f"  solved by: {self.solver}"] if self.solver else []),
            *([f"  jumps found in the right-hand side: {len(self.jumps)}"] if self.jumps else []),
            *_first(self.jumps),
            *(
                [f"  not measured, without a value in places: {', '.join(self.without_value)}"]
                * any(self.without_value)
            ),
            *([f"  time scales: {self.separation}"] if self.separation else []),
        ]
        return "\n".join(lines)


# Sentences of one kind that are printed.
MOST_PRINTED = 3


def _first(sentences: tuple[str, ...]) -> list[str]:
    more = len(sentences) - MOST_PRINTED
    return [*(f"    {text}" for text in sentences[:MOST_PRINTED]), *([f"    and {more} more"] if more > 0 else [])]


def check_model(model: Model, design: Design | None = None, *, seed: int = 0) -> Check:
    """Checks a model as a user of it would find out the hard way.

    Outputs match the units; the functions can be shipped to another process; runs at the nominal and at prior values
    succeed; derivatives agree with central differences; the equations read from the code agree with its numbers, where
    they can be read; new values do not trace again. It says what solves the model, and which jumps of its right-hand
    side were found: at these the engine stops by itself, the solver in JAX only if they are named as `switches`.

    Args:
        model: to be checked.
        design: under which; default ten times up to 1 with every input set to 1.
        seed: of the random values.

    Returns:
        a `Check` with what was measured; it prints as a short summary.

    Raises:
        InputError: with every finding at once.

    Example:
        >>> from forward_models.secretion import model
        >>> check_model(model).gradient
        'exact'
    """
    subject = f"model {model.name!r}" if model.name else "model"
    design = design or Design.linspace(0.1, 1.0, 10, inputs=dict.fromkeys(_inputs(model), 1.0))
    findings = output_findings(model, design) or model.dynamics.start_findings(model, design)
    if findings:
        raise InputError(subject, findings)
    findings += _shipping_findings(model, design)
    key = jax.random.key(seed)
    thetas = model.space.sample(key, (PRIOR_DRAWS,))
    keys = jax.random.split(key, PRIOR_DRAWS)
    runs = evaluate_many(model, thetas, design, keys)
    codes = _codes(model, runs)
    reasons = tuple(f"{count} times: {reason}" for reason, count in model.dynamics.failures(codes).items())
    nominal = evaluate(model, model.space.nominal(), design, key)
    failure = int(_codes(model, nominal))
    if failure:
        findings.append(f"the run at the prior medians failed: {model.dynamics.sentence(failure)}")
    if np.all(codes):
        findings.append(f"every run from the prior failed: {'; '.join(reasons)}")
    if not failure:
        findings += _noise_findings(model, over_time(model, nominal.outputs, design))
    gradient_error = float("nan")
    solved = [name for name in _unmeasured(model) if _sound(nominal, name)]
    without = [name for name in _unmeasured(model) if name not in solved or not _sound(runs, name)[codes == 0].all()]
    if model.gradient in ("exact", "surrogate") and not failure:
        asked = [name for name in model.outputs if name not in _unmeasured(model) or name in solved]
        gradient_error, finding = _gradient_error(model.only(asked), design, key)
        if finding:
            findings.append(finding)
    symbol_error, unread = float("nan"), []
    solver, jumps = model.dynamics.solver(model, design)
    if "symbolic" in model.dynamics.capabilities:
        symbol_error, unread = _symbol_error(model, design, np.random.default_rng(seed))
        if symbol_error > SYMBOL_TOLERANCE:
            findings.append(f"the equations read from the code differ from its numbers by {symbol_error:.1e} relative.")
    before = running._run_packed._cache_size()
    evaluate(model, jax.tree.map(lambda column: column[0], thetas), design, key)
    if running._run_packed._cache_size() != before:
        findings.append(
            "a second run with new values compiled again; keep shapes and Python objects out of the values."
        )
    if findings:
        raise InputError(subject, findings)
    failed = int(np.sum(codes != 0))
    return Check(
        model.name, model.gradient, gradient_error, symbol_error, failed, PRIOR_DRAWS, reasons, solver, jumps,
        tuple(unread), tuple(without), _separation(model, design),
    )  # fmt: skip


def _unmeasured(model: Model) -> tuple[str, ...]:
    """The outputs that no data can be of and no noise refers to; none where nothing is measured, as all count then."""
    asked = {*model.measured, *(name for output in model.noise for name in model.noise_names(output))}
    return tuple(name for name in model.outputs if model.measured and name not in asked)


def _sound(run, name: str) -> np.ndarray:
    """Whether an output of each run `(run.result.shape)` is a number at all times."""
    values = np.isfinite(np.asarray(run.outputs[name]))
    return values.reshape(*np.shape(run.result), -1).all(axis=-1)


def _codes(model: Model, run) -> np.ndarray:
    """Result codes of one or many runs; one in which only outputs that are not measured have no value is sound."""
    codes = np.asarray(run.result)
    asked = [name for name in model.outputs if name not in _unmeasured(model)]
    sound = np.all([_sound(run, name) for name in asked], axis=0)
    return np.where((codes == Result.OUTPUT_NOT_FINITE) & sound, Result.SUCCESS, codes).astype(int)


def _inputs(model: Model) -> tuple[str, ...]:
    """Names of the inputs that a system reads."""
    if "symbolic" in model.dynamics.capabilities:
        from .symbols import read

        try:
            return read(model).inputs
        except InputError:
            pass
    design, asked = Design([0.0]), _Asked()
    object.__setattr__(design, "inputs", asked)
    try:
        model.dynamics.output_shapes(model, model.space.nominal(), design)
    except Exception:
        # what is wrong with the functions is said where they are checked
        return ()
    return tuple(asked.names)


class _Asked(AnyInput):
    """Inputs that note which ones are asked for."""

    def __init__(self):
        super().__init__()
        self.names: dict[str, None] = {}

    def __missing__(self, name: str):
        self.names[name] = None
        return super().__missing__(name)


# How far outputs may be outside what the noise allows, relative to their largest: what solves leave.
NOISE_TOLERANCE = 1e-5


def _noise_findings(model: Model, outputs: dict) -> list[str]:
    """Arguments of the noise that are impossible at the prior medians."""
    known, findings = noise_values_of(model, {**model.space.nominal(), **outputs}), []
    for output, noise in model.noise.items():
        errors = {name: NOISE_TOLERANCE * jnp.max(jnp.abs(known[name])) for name in noise.names}
        findings += [
            f"the noise of {output!r} at the prior medians: {each}."
            for each in impossible_arguments(noise, noise.moved_inside(known, errors))
        ]
    return findings


def _separation(model: Model, design: Design) -> str:
    """Why a reduced model is not to be relied on at the medians, said aloud as well; empty where it is."""
    if "quasi_steady" not in model.dynamics.capabilities:
        return ""
    from .time_scales.slow_fast import separation  # loads xarray, which no other check needs

    dynamics = model.dynamics
    found = separation(dynamics.full, dynamics.fast, model.space.nominal(), design).attrs["warning"]
    if found:
        warnings.warn(f"model {model.name!r}, at its medians: {found}", SeparationWarning, stacklevel=3)
    return found


def _shipping_findings(model: Model, design: Design) -> list[str]:
    functions = model.dynamics.functions(model, design).written
    findings = []
    for name, function in functions.items():
        try:
            pickle.dumps(function)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            findings.append(f"`{name}` cannot be sent to another process ({error}); define it at module level.")
    return findings


def _gradient_error(model: Model, design: Design, key) -> tuple[float, str]:
    """Largest relative difference to central differences, and what is wrong with it or with what it is found from."""
    theta = model.space.nominal()
    free = {name: theta[name] for name in model.space.free}

    def outputs(free):
        run = evaluate(model, {**theta, **free}, design, key, mode="forward")
        return run.outputs, run

    derivative, run = jax.jit(jax.jacfwd(outputs, has_aux=True))(free)
    if int(run.result) == Result.NOT_DIFFERENTIABLE and (more := _unmeasured(model)):
        # whose slope that is cannot be told; nobody differentiates what is not measured
        return _gradient_error(model.only([name for name in model.outputs if name not in more]), design, key)
    if result := int(_codes(model, run)):
        return float("nan"), f"the derivative at the prior medians failed: {model.dynamics.sentence(result)}"
    # no code tells of a simulator's derivative
    more = [
        name for name in _unmeasured(model) if not all(np.isfinite(slope).all() for slope in derivative[name].values())
    ]
    errors = {}
    for name, value in free.items():
        # the truncation error of a central difference and the error of the solve balance near here
        step = 3e-4 * max(abs(float(value)), 1e-8)
        (up, run_up), (down, run_down) = (outputs({**free, name: value + sign * step}) for sign in (1, -1))
        if result := int(_codes(model, run_up)) or int(_codes(model, run_down)):
            reason = model.dynamics.sentence(result)
            return float("nan"), f"the run at the prior medians but {name!r} moved by {step:.1e} failed: {reason}"
        for output in (each for each in model.outputs if each not in more):
            numeric = (up[output] - down[output]) / (2 * step)
            scale = max(
                float(jnp.max(jnp.abs(derivative[output][name]))),
                float(jnp.max(jnp.abs(up[output]))) / abs(value or 1.0) * 1e-3,
            )
            errors[name, output] = float(jnp.max(jnp.abs(numeric - derivative[output][name]))) / max(scale, 1e-300)
    worst = max(errors, key=lambda pair: errors[pair] if np.isfinite(errors[pair]) else np.inf)
    if errors[worst] <= GRADIENT_TOLERANCE:
        return errors[worst], ""
    return errors[worst], (
        f"the derivative by {worst[0]!r} differs from central differences by {errors[worst]:.1e} relative; look for "
        "integer casts, stop_gradient, or set the gradient status to 'none'."
    )


def _symbol_error(model: Model, design: Design, rng: np.random.Generator) -> tuple[float, list[str]]:
    """Largest relative difference between symbols and numbers at random rational points, or why they cannot be read."""
    from .symbols import read

    try:
        symbolic = read(model, design)
    except InputError as error:
        return float("nan"), list(error.findings)
    worst = 0.0
    for _ in range(5):
        point = {name: int(rng.integers(1, 64)) / 16 for name in ("t", *symbolic.symbols)}
        p = {name: jnp.asarray(point[name]) for name in symbolic.parameters}
        y = {name: jnp.asarray(point[name]) for name in symbolic.states}
        inputs = {name: _input(point, name, value) for name, value in design.inputs.items()}
        numbers = {
            "initial": model.system.initial(p, inputs),
            "rhs": model.system.rhs(jnp.asarray(point["t"]), y, p, inputs),
            "observe": model.observed_entries(jnp.asarray(point["t"]), y, p, inputs),
        }
        for part, values in numbers.items():
            exact = symbolic.evaluate(part, point)
            for name, value in values.items():
                if not np.isfinite(float(value)) and not np.isfinite(exact[name]):
                    continue
                error = abs(float(value) - exact[name]) / max(abs(exact[name]), 1e-300 if exact[name] else 1.0)
                worst = max(worst, error if np.isfinite(error) else np.inf)
    return worst, []


def _input(point: dict, name: str, value):
    if value.ndim == 0:
        return jnp.asarray(point[name])
    flat = [point[f"{name}_{index}"] for index in range(value.size)]
    return jnp.asarray(flat).reshape(value.shape)
