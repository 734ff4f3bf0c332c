"""From a model to its straight-line program: the author's three functions traced, their names checked."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr

from ..design import Design
from ..errors import InputError, nearest
from ..names import TIME, symbol_findings
from .interpreter import Interpreter
from .primitives import SWITCH
from .program import Node, Program, Recorder
from .stretches import Moment, Stretch, numbers_of, stretches


class NoFormula(InputError):
    """The functions of a model have no exact meaning as formulas; the findings say where and why."""


def trace(model, design: Design | None = None) -> Program:
    """The straight-line program of a model's initial state, right-hand side and outputs.

    Args:
        model: a model whose `system` is an `Ode`.
        design: its inputs become symbols, `dose` or, for an array, `dose_0`, `dose_1` ...; without a design every
            input that the functions read is one symbol.

    Raises:
        NoFormula: with everything that has no exact meaning, in all three functions.
    """
    return _traced(model, design, None)


def trace_stretches(model, design: Design, first: float, known: Sequence[float] = ()) -> list[Stretch]:
    """The programs of a model whose equations jump in time, one for each stretch between jumps, in their order.

    Which comes after which is decided at the inputs of the design and the medians of the parameters.

    Args:
        model, design: as for `trace`.
        first: the time from which on it is looked; to the last time of the design.
        known: times at which something jumps.

    Raises:
        NoFormula: where something else than time and inputs decides, or has no exact meaning.
    """
    times = np.asarray(design.times, float)
    finite = times[np.isfinite(times)]
    last = float(finite.max(initial=first))
    inputs, medians = numbers_of([*design.inputs], design.inputs), numbers_of(model.space.names, model.space.nominal())
    deciding = frozenset(inputs) | frozenset(model.space.fixed)

    def read(time: float) -> tuple[Program, Moment]:
        moment = Moment(Recorder(), inputs | medians | {TIME: time}, deciding)
        return _traced(model, design, moment), moment

    return stretches(read, first, last if last > first else first + 1.0, known)


def _traced(model, design: Design | None, moment: Moment | None) -> Program:
    """The program; with a moment, that which holds there."""
    subject = f"symbols of model {model.name!r}" if model.name else "symbols of the model"
    model.dynamics.require("symbolic", subject)
    recorder, findings = moment.recorder if moment else Recorder(), {}
    p = {name: _symbols(recorder, name) for name in model.space.names}
    inputs = {name: _symbols(recorder, name, shape) for name, shape in _input_shapes(model, design).items()}
    known = (*p, *inputs)

    def read(name, function, *arguments):
        out, found = _read(recorder, name, function, known, moment, *arguments)
        findings.update(found)
        return out

    initial = read("initial", model.system.initial, p, inputs)
    states = {name: _symbols(recorder, name) for name in initial}
    if states:  # otherwise `initial` could not be read, and the rest would only repeat that
        time = _symbols(recorder, TIME)
        rhs = read("rhs", model.system.rhs, time, states, p, inputs)

        def observe(t, y, p, inputs):
            return model.observed_entries(t, y, p, inputs)

        outputs = read("observe", observe, time, states, p, inputs)
    input_names = tuple(recorder.operations[node.index][1] for array in inputs.values() for node in array.ravel())
    shared = symbol_findings({"a parameter": p, "a state": states, "an input": input_names})
    findings.update(dict.fromkeys(shared))
    if findings or not states:
        raise NoFormula(subject, list(findings) or ["initial returns no state; give each state its start value."])
    if unmatched := _state_findings(initial, rhs):
        raise NoFormula(subject, unmatched)
    parts = [initial, {name: rhs[name] for name in initial}, outputs]
    parts = [{name: recorder.index(entry) for name, entry in part.items()} for part in parts]
    return Program(tuple(recorder.operations), tuple(p), input_names, *parts)


def operations(traced: ClosedJaxpr, returned, *arguments) -> tuple[tuple, ...] | None:
    """Any function of arrays as operations of a straight-line program, whichever version of JAX has traced it.

    Args:
        traced, returned: what `jax.make_jaxpr(function, return_shape=True)` has made of it.
        arguments: pytrees; only names and shapes are looked at. Their numbers are the symbols "0", "1_0", "1_1", ...

    Returns:
        operations as in `Program`, then ("returns", name, positions) for each array returned, in the order of their
        names; None where something in the function has no formula (a comparison of symbols, a loop with an open end, a
        random number).
    """
    leaves, _ = jax.tree.flatten(arguments)
    recorder = Recorder()
    interpreter = Interpreter(recorder, "function")
    symbols = [_symbols(recorder, str(number), np.shape(leaf)) for number, leaf in enumerate(leaves)]
    found = [[interpreter.decided(entry) for entry in array.ravel()] for array in interpreter.run(traced, symbols)]
    if interpreter.findings or not all(isinstance(entry, Fraction | Node) for entries in found for entry in entries):
        return None
    paths = [path for path, _ in jax.tree_util.tree_flatten_with_path(returned)[0]]
    names = ["/".join(str(getattr(key, "key", getattr(key, "idx", key))) for key in path) for path in paths]
    results = [("returns", name, *map(recorder.index, entries)) for name, entries in zip(names, found, strict=True)]
    return (*recorder.operations, *results)


def _read(recorder: Recorder, name: str, function: Callable, known: tuple[str, ...], moment: Moment | None, *arguments):
    """Entries that one of the author's functions returns by name, and the findings about it."""
    shapes = jax.tree.map(lambda array: jax.ShapeDtypeStruct(array.shape, jnp.zeros(()).dtype), arguments)
    order = []

    def noted(*arguments):
        returned = function(*arguments)
        order.extend(returned)  # JAX itself sorts the keys
        return returned

    try:
        jaxpr, returned = jax.make_jaxpr(noted, return_shape=True)(*shapes)
    except TRACING_ERRORS as error:
        return {}, {f"{name} {_tracing_finding(error, known)}": None}
    interpreter = Interpreter(recorder, name, moment)
    outputs = interpreter.run(jaxpr, jax.tree.leaves(arguments))
    out = jax.tree.unflatten(jax.tree.structure(returned), outputs)
    wrong = {f"{name} returns {key!r} with shape {value.shape} for scalar states; it must be a scalar.": None
             for key, value in out.items() if value.shape}  # fmt: skip
    scalars = {key: interpreter.decided(out[key][()]) for key in order if not out[key].shape}
    return scalars, interpreter.findings | wrong


TRACING_ERRORS = (
    jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError, KeyError
)  # fmt: skip


def _tracing_finding(error: Exception, known: tuple[str, ...]) -> str:
    if isinstance(error, KeyError):
        return (f"reads {error.args[0]!r}, which is neither a parameter, a state nor an input; "
                f"{nearest(error.args[0], known)}")  # fmt: skip
    if isinstance(error, jax.errors.ConcretizationTypeError):
        return f"branches in Python (if, while, and, or) on a value that is not known before the run: {SWITCH}"
    return "hands a traced value to NumPy or to Python; use jax.numpy throughout."


def _symbols(recorder: Recorder, name: str, shape: tuple[int, ...] = ()) -> np.ndarray:
    out = np.empty(shape, dtype=object)
    for index in np.ndindex(shape):
        out[index] = recorder.symbol("_".join([name, *map(str, index)]))
    return out


class _Reads(Mapping):
    """Inputs that note which names are asked for."""

    def __init__(self):
        self.names: dict[str, None] = {}

    def __getitem__(self, name: str):
        self.names[name] = None
        return jnp.ones(())

    def __iter__(self):
        return iter(self.names)

    def __len__(self):
        return len(self.names)


def _input_shapes(model, design: Design | None) -> dict[str, tuple[int, ...]]:
    if design is not None:
        return {name: np.shape(value) for name, value in design.inputs.items()}
    reads, p = _Reads(), {name: jnp.ones(()) for name in model.space.names}
    # Whatever goes wrong here goes wrong again, and is then reported, when the functions are traced.
    with suppress(*TRACING_ERRORS):
        state = jax.eval_shape(lambda p: model.system.initial(p, reads), p)
        jax.eval_shape(lambda y, p: model.system.rhs(jnp.zeros(()), y, p, reads), state, p)
    return dict.fromkeys(reads.names, ())


def _state_findings(initial, rhs) -> list[str]:
    findings = [f"rhs returns no derivative for the state {name!r}." for name in initial if name not in rhs]
    return findings + [f"rhs returns {name!r}, which initial does not start; {nearest(name, [*initial])}"
                       for name in rhs if name not in initial]  # fmt: skip
