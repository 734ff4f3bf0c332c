"""What is wrong with the functions of a model: shapes and names, reported before anything is solved."""

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import jax

from ..design import Design
from ..errors import nearest

if TYPE_CHECKING:
    from .description import Model

Shapes = dict[str, tuple[int, ...]]
# Shapes and findings by shapes of designs, as every call of `evaluate` asks; they go when their model does.
_known: WeakKeyDictionary["Model", dict[tuple, tuple[Shapes, list[str]]]] = WeakKeyDictionary()


def output_findings(model: "Model", design: Design) -> list[str]:
    """What is wrong with the shapes and names that the author's functions return (traced once per design shape)."""
    return list(_looked_at(model, design)[1])


def output_shapes(model: "Model", design: Design) -> Shapes:
    """Shapes of the outputs over the times of a design, as the author's functions return them."""
    return _looked_at(model, design)[0]


def _looked_at(model: "Model", design: Design) -> tuple[Shapes, list[str]]:
    design = design if design.times.ndim == 1 else jax.tree.map(lambda leaf: leaf[0], design)
    leaves, tree = jax.tree.flatten(design)
    shapes = (tree, *((leaf.shape, str(leaf.dtype)) for leaf in leaves))
    known = _known.setdefault(model, {})
    if shapes not in known:
        known[shapes] = _findings(model, design)
    return known[shapes]


def _findings(model: "Model", design: Design) -> tuple[Shapes, list[str]]:
    # only their shapes matter
    theta = {name: jax.ShapeDtypeStruct((), float) for name in model.space.names}
    try:
        outputs, findings = model.dynamics.output_shapes(model, theta, design)
    except KeyError as error:
        known = (*model.space.names, *design.inputs)
        return {}, [
            f"the model reads {error.args[0]!r}, which is neither a parameter, a state nor an input of this design; "
            f"{nearest(error.args[0], known)}"
        ]
    if findings:
        return {}, findings
    shapes = {name: value.shape for name, value in outputs.items()}
    without = [name for name in outputs if name not in model.units]
    if len(without) == 1:
        findings = [f"output {without[0]!r} has no unit; add it to `units`."]
    elif without:
        findings = [f"outputs {', '.join(map(repr, without))} have no units; add them to `units`."]
    findings += [
        f"`units` has {name!r}, which is not among the outputs; {nearest(name, [*outputs])}"
        for name in model.units
        if name not in outputs
    ]
    count = len(design.times)
    for name, dims in model.output_dims.items():
        if name not in shapes:
            continue
        shape = shapes[name]
        # one number may stand for a whole series
        spread = dims == ("time",) and shape in ((), (1,))
        fits = len(shape) == len(dims) and (dims[:1] != ("time",) or shape[0] == count)
        if not fits and not spread:
            findings.append(
                f"output {name!r} has the shape {shape} at {count} times, and its dims are {dims}; return an axis for "
                "each of them, or name its axes, as in dims={" + f"{name!r}: {_dims_of(shape, count)}" + "}."
            )
    return shapes, findings


def _dims_of(shape: tuple[int, ...], count: int) -> tuple[str, ...]:
    """Dims that would fit a shape."""
    timed = shape[:1] == (count,)
    return ("time",) * timed + ("x", "y", "z", "w")[: len(shape) - timed]
