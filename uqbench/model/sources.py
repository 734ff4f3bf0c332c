"""Runs of a random model as a function of its sources of randomness, each of which has a number of its own."""

from functools import partial
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int

from ..annotations import AnyArray, ValuesOrLists
from ..design import Design
from ..systems import Run
from ..systems.protocol import WHOLE_RUN
from .increments import from_start, increments_of
from .running import check_run, evaluate_many

if TYPE_CHECKING:
    from .description import Model


def evaluate_by_source(
    model: "Model", thetas: ValuesOrLists, design: Design, numbers: Int[AnyArray, "batch sources"], *, chunk: int = 4096
) -> Run:
    """Runs whose randomness is given by a number for each source, such as each reaction of a network.

    Two runs that share the number of a source share its randomness; their outputs differ by the other sources and the
    parameters alone.

    Args:
        thetas: every free parameter, `(batch,)` each (scalars are shared).
        design: one for all.
        numbers: from 0 to 2^32 - 1, for each run and each of `model.dynamics.noise_sources()`.
        chunk: batch members solved together.

    Returns:
        as `evaluate_many`.

    Raises:
        InputError: a model without sources, shapes that do not fit, and what `evaluate` finds.
    """
    numbers, sources = np.asarray(numbers), model.dynamics.noise_sources()
    findings = [] if sources else [f"{model.dynamics.kind} has no randomness."]
    if numbers.ndim != 2 or numbers.shape[1] != len(sources):
        findings.append(f"numbers have the shape {numbers.shape}; give (batch, {len(sources)}).")
    if design.times.ndim != 1:
        findings.append("give one design for all runs.")
    check_run(model, design, jax.random.key(0), findings)
    if sources == (WHOLE_RUN,):
        keys = jax.vmap(partial(jax.random.fold_in, jax.random.key(0)))(numbers[:, 0].astype(np.uint32))
        return evaluate_many(model, thetas, design, keys)
    n = len(numbers)
    given = {name: np.broadcast_to(value, (n,)) for name, value in model.space.complete(thetas).items()}
    size = min(chunk, 1 << (n - 1).bit_length())
    parts = []
    for first in range(0, n, size):
        # the last rows are repeated, so that all parts have the same shape
        rows = np.minimum(np.arange(first, first + size), n - 1)
        own = {name: values[rows] for name, values in given.items()}
        run, used = _run(model, own, design, numbers[rows].astype(np.uint32)), min(size, n - first)
        parts.append(jax.tree.map(lambda leaf, used=used: leaf[:used], run))
    return parts[0] if len(parts) == 1 else jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)


@partial(jax.jit, static_argnames="model")
def _run(model: "Model", thetas, design: Design, numbers) -> Run:
    if not model.increments:
        return model.dynamics.runs_by_source(model, thetas, design, numbers)
    run = model.dynamics.runs_by_source(model.accumulated, thetas, from_start(design), numbers)
    outputs = jax.vmap(lambda outputs: increments_of(model, outputs))(run.outputs)
    return Run(outputs, run.result, run.steps, run.implicit_steps)
