"""What is wrong with the functions of a model: shapes and names, reported before anything is solved."""

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import jax

from ..design import Design
from ..errors import nearest

if TYPE_CHECKING:
    from .description import Model

# Findings by shapes of designs, as every call of `evaluate` asks; they go when their model does.
_known: WeakKeyDictionary["Model", dict[tuple, list[str]]] = WeakKeyDictionary()


def output_findings(model: "Model", design: Design) -> list[str]:
    """What is wrong with the shapes and names that the author's functions return (traced once per design shape)."""
    design = design if design.times.ndim == 1 else jax.tree.map(lambda leaf: leaf[0], design)
    leaves, tree = jax.tree.flatten(design)
    shapes = (tree, *((leaf.shape, str(leaf.dtype)) for leaf in leaves))
    known = _known.setdefault(model, {})
    if shapes not in known:
        known[shapes] = _findings(model, design)
    return list(known[shapes])


def _findings(model: "Model", design: Design) -> list[str]:
    # only their shapes matter
    theta = {name: jax.ShapeDtypeStruct((), float) for name in model.space.names}
    try:
        outputs, findings = model.dynamics.output_shapes(model, theta, design)
    except KeyError as error:
        known = (*model.space.names, *design.inputs)
        return [
            f"the model reads {error.args[0]!r}, which is neither a parameter, a state nor an input of this design; "
            f"{nearest(error.args[0], known)}"
        ]
    if findings:
        return findings
    findings = [f"output {name!r} has no unit; add it to `units`." for name in outputs if name not in model.units]
    findings += [
        f"`units` has {name!r}, which is not among the outputs; {nearest(name, [*outputs])}"
        for name in model.units
        if name not in outputs
    ]
    return findings
