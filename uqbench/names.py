"""Which names a parameter, an output, a state or an input may have.

Any text will do, unless two things in one place would be called the same. In the stored results a parameter or an
output is a variable of a group, beside the dimensions and coordinates of that group, and "/" separates the groups; in
the equations a parameter, a state and an input are symbols, beside the time `t`.
"""

from collections.abc import Iterable, Mapping

# The dimensions of the ArviZ schema, of which every parameter is an array.
DRAWS = ("chain", "draw")
# Outputs stand beside these in the bands over time.
BAND = ("experiment", "grid", "quantile", "run", "setting", "time", "unit")
# What tells the measurements of an output apart: `y_time` is a coordinate of the output `y`.
MEASUREMENT = ("row", "experiment", "time", "censored")
TIME = "t"
# In Sobol indices after calibration, beside the parameters.
POSTERIOR_AS_INPUT = "epistemic"


def variable_findings(kind: str, names: Iterable[str], dimensions: Iterable[str]) -> list[str]:
    """Why these names cannot be those of variables in the stored results.

    Args:
        kind: what is named, with its article.
        dimensions: of the groups in which the variables will stand.

    Example:
        >>> variable_findings("a parameter", ["k", "A b", "draw"], DRAWS)
        ["'draw', the name of a parameter, is that of a dimension of the results (chain, draw); rename it."]
    """
    dimensions, findings = tuple(dimensions), []
    for name in names:
        if not isinstance(name, str) or not name.strip():
            findings.append(f"{name!r}, the name of {kind}, is not text, or empty; give it a name.")
        elif "/" in name:
            findings.append(
                f"{name!r}, the name of {kind}, has a '/', which separates groups of the results; write "
                f"{name.replace('/', '_')!r} or the like."
            )
        elif name in dimensions:
            findings.append(
                f"{name!r}, the name of {kind}, is that of a dimension of the results ({', '.join(dimensions)}); "
                "rename it."
            )
    return findings


def symbol_findings(kinds: Mapping[str, Iterable[str]]) -> list[str]:
    """Names that two symbols of the equations would share; one of them may be the time.

    Args:
        kinds: what is named, with its article -> its names.

    Example:
        >>> symbol_findings({"a parameter": ["k", "t"], "a state": ["A"]})
        ["'t' is the time and a parameter; rename one of them."]
    """
    named = {TIME: ["the time"]}
    for kind, names in kinds.items():
        for name in names:
            named.setdefault(name, []).append(kind)
    return [f"{name!r} is {' and '.join(kind)}; rename one of them." for name, kind in named.items() if len(kind) > 1]
