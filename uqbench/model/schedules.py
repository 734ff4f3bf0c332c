"""Experiments with different numbers of doses in one batch: schedules are filled up with doses that never happen.

Arrays of a batch have one shape. An input that says when doses are given is filled up with times that never come, one
that says how much with zeros; both only where it is certain that nothing else reads them. Designs themselves keep what
their author gave.
"""

from collections.abc import Collection, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..design import Design
from ..systems.protocol import DOSE_AMOUNTS, DOSE_TIMES, names_used
from .description import Model

# What makes times of events of inputs.
TIMES = (DOSE_TIMES, "switches")
AS_MANY = "Give as many to all, with the amount 0 for those that were not given."


def with_equal_schedules(model: Model, designs: Sequence[Design]) -> list[Design]:
    """The designs with inputs of one shape; those of `schedule_findings` without findings."""
    longest = _longest(designs)
    if not longest:
        return list(designs)
    times = _times(_reading(model, designs[0]))
    return [_filled(design, longest, times) for design in designs]


def schedule_findings(model: Model, designs: Sequence[Design]) -> list[str]:
    """Why designs whose inputs have different shapes cannot be solved together; empty where they can."""
    shapes = [{name: value.shape for name, value in sorted(design.inputs.items())} for design in designs]
    if all(each == shapes[0] for each in shapes):
        return []
    # all but the first length
    kinds = [{name: (len(shape), shape[1:]) for name, shape in each.items()} for each in shapes]
    if any(kind != kinds[0] for kind in kinds):
        return [f"experiments must give the same inputs with the same shapes; given are {shapes}."]
    longest = _longest(designs)
    if "schedule" not in model.dynamics.capabilities:
        return [f"the inputs {', '.join(map(repr, longest))} have different lengths in the experiments. {AS_MANY}"]
    reading, findings = _reading(model, designs[0]), []
    for name in longest:
        others = [role for role, names in reading.items() if name in names and role not in (*TIMES, DOSE_AMOUNTS)]
        if others:
            findings.append(
                f"the input {name!r} has different lengths in the experiments, which is possible for what `doses` "
                f"and `switches` alone read; so {'do' if len(others) > 1 else 'does'} "
                f"{' and '.join(f'`{role}`' for role in others)}. {AS_MANY}"
            )
        elif name in _times(reading) and name in reading[DOSE_AMOUNTS]:
            findings.append(
                f"the input {name!r} has different lengths in the experiments and is read for both times and amounts "
                f"of doses. {AS_MANY}"
            )
    return findings or _changed(model, designs, longest)


def _longest(designs: Sequence[Design]) -> dict[str, int]:
    """Input -> its greatest length, of those whose lengths differ."""
    lengths = {name: {np.shape(design.inputs[name])[:1] for design in designs} for name in designs[0].inputs}
    return {name: max(length for (length,) in found) for name, found in lengths.items() if len(found) > 1}


def _reading(model: Model, design: Design) -> dict[str, tuple[str, ...]]:
    """Role of a function -> the inputs on which what it returns depends; of `doses` times and amounts apart."""
    calls = dict(model.dynamics.functions(model, design).calls)
    theta, names = model.space.nominal(), tuple(design.inputs)
    if apart := model.dynamics.dose_functions():
        del calls["doses"]
        calls |= {role: (function, (design.inputs,)) for role, function in apart.items()}

    def used(function, more):
        return names_used(jax.make_jaxpr(lambda inputs: function(theta, *more[:-1], inputs))(more[-1]), names)

    return dict.fromkeys((*TIMES, DOSE_AMOUNTS), ()) | {role: used(*call) for role, call in calls.items()}


def _times(reading: dict[str, tuple[str, ...]]) -> set[str]:
    return {name for role in TIMES for name in reading[role]}


def _filled(design: Design, longest: dict[str, int], times: Collection[str]) -> Design:
    inputs = dict(design.inputs)
    for name, length in longest.items():
        value = inputs[name]
        missing = (length - len(value), *value.shape[1:])
        inputs[name] = jnp.concatenate([value, jnp.full(missing, jnp.inf if name in times else 0.0)])
    return eqx.tree_at(lambda each: each.inputs, design, inputs)


def _changed(model: Model, designs: Sequence[Design], longest: dict[str, int]) -> list[str]:
    """Experiments whose own doses would be others among more of them: an amount that is a share of all, say."""
    different = {tuple(np.shape(design.inputs[name]) for name in longest): design for design in designs}
    times = _times(_reading(model, designs[0]))
    theta = model.space.nominal()
    for design in different.values():
        own, filled = (
            [np.asarray(part) for part in model.dynamics.doses(model, theta, each)]
            for each in (design, _filled(design, longest, times))
        )
        happens = np.isfinite(filled[0])
        if not (np.array_equal(filled[0][happens], own[0]) and np.array_equal(filled[1][happens], own[1])):
            named = ", ".join(map(repr, longest))
            return [
                f"the inputs {named} have different lengths in the experiments, and a dose that `doses` makes of them "
                f"depends on how many there are. {AS_MANY}"
            ]
    return []
