"""What a server of ours says of a model: sizes, values and derivatives, each for one design."""

import json
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from ..design import Design
from ..errors import InputError
from ..model import Model, evaluate
from ..study import Study

# Jacobians and designs that are kept: clients ask for one product after another at the same point.
MOST_KEPT = 64
SEED = "seed"
CONFIG = ("times", "inputs", SEED)


class RunFailed(Exception):
    """A run has ended with a code; the message is its sentence."""


class _Kept[T]:
    """The results that were used last, by key."""

    def __init__(self):
        self._kept: OrderedDict = OrderedDict()

    def get(self, key) -> T | None:
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)

    def put(self, key, value: T) -> T:
        self._kept[key] = value
        while len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)
        return value


@dataclass(frozen=True, eq=False)
class Served:
    """A model under a design, which a request may change by its config: `times`, `inputs`, and a `seed`.

    The only input vector has the free parameters in the order of the space; each output is a vector.
    """

    name: str
    model: Model
    design: Design
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)
    _designs: _Kept[Design] = field(default_factory=_Kept, init=False, repr=False)
    _jacobians: _Kept[dict[str, np.ndarray]] = field(default_factory=_Kept, init=False, repr=False)

    @property
    def differentiable(self) -> bool:
        return self.model.gradient in ("exact", "surrogate")

    @property
    def input_size(self) -> int:
        return len(self.model.space.free)

    def output_sizes(self, config: Mapping) -> list[int]:
        """Raises an `InputError` for a config that is not understood."""
        design = self._designed(config)
        shapes, dims = self.model.entry_shapes(design), self.model.output_dims
        return [
            int(np.prod(shapes[name])) * (design.times.size if dims[name][:1] == ("time",) else 1)
            for name in self.model.outputs
        ]

    def evaluate(self, parameters: Sequence[float], config: Mapping) -> list[list[float]]:
        """The outputs, each in one row.

        Raises:
            InputError: a config that is not understood.
            RunFailed: the run has a code.
        """
        design = self._designed(config)
        key = jax.random.key(config.get(SEED, 0)) if self.model.stochastic else None
        # where several threads compile the same at once, each does the work
        with self._lock:
            run = evaluate(self.model, self._theta(parameters), design, key)
        self._check(int(run.result))
        return [np.ravel(run.outputs[name]).tolist() for name in self.model.outputs]

    def jacobian(self, parameters: Sequence[float], config: Mapping) -> dict[str, np.ndarray]:
        """Output -> derivatives of its row by the free parameters, `(entries, parameters)`."""
        design, key = self._designed(config), (tuple(parameters), json.dumps(config, sort_keys=True))
        random = jax.random.key(config.get(SEED, 0)) if self.model.stochastic else None
        with self._lock:
            found = self._jacobians.get(key)
            if found is None:
                # the checks of `evaluate`, as nothing is checked in a trace
                evaluate(self.model, self._theta(parameters), design, random)
                at = np.array(parameters, float)
                slopes, code = _jacobian(self.model, at, design, random)
                self._check(int(code))
                found = self._jacobians.put(key, {name: np.asarray(each) for name, each in slopes.items()})
        if not all(np.isfinite(each).all() for each in found.values()):
            raise RunFailed("a derivative is not finite there.")
        return found

    def _check(self, code: int) -> None:
        if code:
            raise RunFailed(self.model.dynamics.sentence(code))

    def _theta(self, parameters: Sequence[float]) -> dict[str, float]:
        # those that are fixed have their value
        return dict(zip(self.model.space.free, parameters, strict=True))

    def _designed(self, config: Mapping) -> Design:
        findings = [
            f"config has {name!r}; known are {', '.join(map(repr, CONFIG))}." for name in config if name not in CONFIG
        ]
        inputs = config.get("inputs", {})
        if not isinstance(inputs, Mapping):
            findings.append(f"`inputs` of the config are {inputs!r}; give a dict.")
        if type(config.get(SEED, 0)) is not int:
            findings.append(f"the seed is {config[SEED]!r}; it must be an integer.")
        if findings:
            raise InputError(f"model {self.name!r}", findings)
        if not {"times", "inputs"} & {*config}:
            return self.design if self.design.times.size else self._without_times()
        key = json.dumps([config.get("times"), inputs], sort_keys=True)
        with self._lock:
            known = self._designs.get(key)
            if known is None:
                times = config.get("times", self.design.times)
                known = Design(times, {**self.design.inputs, **inputs}, start=float(self.design.start))
                self._designs.put(key, known)
        return known if known.times.size else self._without_times()

    def _without_times(self) -> Design:
        """For outputs that are no series any time will do."""
        if any(dims[:1] == ("time",) for dims in self.model.output_dims.values()):
            raise InputError(
                f"model {self.name!r}", ['the design has no times; give them as {"times": [...]} in config.']
            )
        return self.design.at([float(self.design.start)])


def served(given: Study | Model) -> list[Served]:
    """The experiments of a study, each by its name; or one model by its own."""
    if isinstance(given, Study):
        return [Served(name, given.model, design) for name, design in given.experiments.items()]
    return [Served(given.name or "model", given, Design())]


@partial(jax.jit, static_argnames="model")
def _jacobian(model: Model, at, design: Design, key):
    """Output -> `(entries, parameters)`, and the code; for few parameters forward sensitivities cost least."""

    def outputs(at):
        run = evaluate(model, dict(zip(model.space.free, at, strict=True)), design, key, mode="forward")
        return {name: jnp.ravel(each) for name, each in run.outputs.items()}, run.result

    return jax.jacfwd(outputs, has_aux=True)(at)
