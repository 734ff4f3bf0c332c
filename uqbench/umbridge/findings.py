"""What does not fit between a server's vectors and what is said of them."""

from collections.abc import Mapping

from ..errors import nearest
from ..space import Space
from .simulate import names_of


def input_findings(vectors, space: Space, sizes) -> list[str]:
    findings = [
        f"input vector {index} has {entry!r} in it; give names of parameters or inputs, or numbers."
        for index, each in enumerate(vectors)
        for entry in each
        if not isinstance(entry, str | int | float)
    ]
    if sizes is None or findings:
        return findings
    if len(vectors) != len(sizes[0]):
        return [
            f"the server takes {len(sizes[0])} input vectors, of the sizes {[*sizes[0]]}, and `inputs` says what "
            f"stands in {len(vectors)}."
        ]
    for index, (each, size) in enumerate(zip(vectors, sizes[0], strict=True)):
        # others are inputs of a design, which may be arrays
        if all(not isinstance(entry, str) or entry in space for entry in each) and len(each) != size:
            what = ", ".join(map(str, each))
            findings.append(f"input vector {index} has {size} entries on the server, and {len(each)} here ({what}).")
    return findings


def output_findings(outputs, units: Mapping[str, str], sizes) -> list[str]:
    names = [name for each in outputs for name in names_of(each)]
    findings = [f"two outputs are called {name!r}." for name in {*names} if names.count(name) > 1]
    findings += [f"output {name!r} has no unit; add it to `units`." for name in names if name not in units]
    findings += [
        f"`units` has {name!r}, which is not among the outputs; {nearest(name, names)}"
        for name in units
        if name not in names
    ]
    if sizes is None:
        return findings
    if len(outputs) != len(sizes[1]):
        return [
            *findings,
            f"the server gives {len(sizes[1])} output vectors, of the sizes {[*sizes[1]]}, and `outputs` names "
            f"{len(outputs)}; write None for one that is not asked for.",
        ]
    return findings + [
        f"output vector {index} has {size} entries on the server, and {len(each)} names here."
        for index, (each, size) in enumerate(zip(outputs, sizes[1], strict=True))
        if each is not None and not isinstance(each, str) and len(each) != size
    ]


def series_findings(outputs, dims, sizes, served, known: bool) -> list[str]:
    if sizes is None or len(outputs) != len(sizes[1]):
        return []
    findings = []
    for each, size in zip(outputs, sizes[1], strict=True):
        axes = dims.get(each) if isinstance(each, str) else None
        if axes == ("time",) and served is not None and size != len(served):
            findings.append(f"output {each!r} has {size} entries on the server, and there are {len(served)} `times`.")
        elif axes is not None and axes[:1] == ("time",) and not known:
            findings.append(
                f"output {each!r} has {size} entries on the server, and nothing says at which times: pass `times`, or "
                "its `dims`."
            )
        elif axes == () and size != 1:
            findings.append(f"output {each!r} has {size} entries on the server, and its dims are (), one number.")
    return findings
