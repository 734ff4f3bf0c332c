"""A model whose numbers come from a server."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import InputError
from ..model import Model
from ..space import Space
from .findings import input_findings, output_findings, series_findings
from .function import DERIVATIVES, asked, connected
from .protocol import Config
from .simulate import TIMES, OutputVector, Simulate, names_of


def foreign_model(
    url: str,
    name: str | None = None,
    *,
    space: Space,
    outputs: Sequence[OutputVector],
    units: Mapping[str, str],
    inputs: Sequence[Sequence[str | float] | str] | None = None,
    config: Config | Callable[..., Config] | None = None,
    times: Sequence[float] | np.ndarray | None = None,
    dims: Mapping[str, tuple[str, ...]] | None = None,
    timeout: float = 60.0,
    connections: int = 1,
    **settings: Any,
) -> Model:
    """A model on an UM-Bridge server, whatever it is written in, as a model like any other.

    Its gradient status is "exact" where the server has Gradient or ApplyJacobian, and "none" where it has neither: then
    verbs that need derivatives say so, and no differences are taken in their place. A request that fails (the server is
    gone, late, answers with an error or with something else than numbers) is a failed run with a code;
    `recent_failures()` has what the server said.

    Args:
        url: of the server. name: of one of its models; may be left out where there is one.
        space: the parameters.
        outputs: for each output vector of the server the name of an output, or a list with a name for each entry, each
            an output of its own, one number; None where it is not asked for.
        units: output -> unit.
        inputs: for each input vector of the server what stands in it, one after another: names of parameters or of
            inputs of the design (arrays too), "times" for those of the design, or numbers. Default: one vector of all
            free parameters in the order of `space`.
        config: sent with each request; or `config(times, inputs)`, a function at module level that makes it from arrays
            of the design, such as `design_config` for a server of ours.
        times: at which the server gives its series, rising, in the unit of time of the model; those of a design must be
            among them. Without these a series is taken to be at the times of the design.
        dims: output -> names of its axes. Default of a whole vector: ("time",), or () where it has one entry, unless
            there may be one time alone.
        timeout: seconds within which an answer must be there.
        connections: requests that are sent at the same time.
        settings: as of `Model.from_function`: noise, name, time_unit, coords, nominal, increments, columns.

    Raises:
        InputError: no server there, no such model, sizes that do not fit; with everything that is wrong at once.

    Example:
        >>> import threading
        >>> from uqbench import Design, evaluate
        >>> from uqbench.umbridge import serve
        >>> from forward_models.secretion import steady
        >>> server = serve(steady, port=0)  # as any other code might
        >>> threading.Thread(target=server.serve_forever, daemon=True).start()
        >>> model = foreign_model(server.url, space=steady.space, outputs=["C"], units={"C": "nM"})
        >>> model
        Model(secretion at steady state: outputs C; gradient exact)
        >>> float(evaluate(model, {"s": 2.0, "q": 5.0}, Design([0.0])).outputs["C"])
        20.0
        >>> server.shutdown(), server.server_close()
        (None, None)
    """
    server, features = connected(url, name, {} if config is None else config, timeout, connections)
    vectors = _vectors([[*space.free]] if inputs is None else inputs)
    named = tuple(each if isinstance(each, str) or each is None else tuple(each) for each in outputs)
    served = None if times is None else _rising(times)
    # sizes that depend on a design are looked at with it
    sizes = None if callable(config) else asked(server, lambda: server.sizes(config or {}))
    known = served is not None or sizes is None or any(TIMES in each for each in vectors)
    # one number is a series only where one time is all there may be
    numbers = not known or len(served or ()) > 1
    all_dims = {**_dims(named, sizes, numbers), **(dims or {})}
    findings = input_findings(vectors, space, sizes) + output_findings(named, units, sizes)
    findings += series_findings(named, all_dims, sizes, served, known)
    if served == ():
        findings.append(f"times are {times!r}; give numbers that rise.")
    simulate = Simulate(
        server, features, vectors, named, sizes, served, tuple(all_dims.items()), settings.get("coords")
    )
    settings = {"name": server.name, **settings}
    if findings:
        raise InputError(f"UM-Bridge model {server.name!r}", findings)
    gradient = "exact" if features & DERIVATIVES else "none"
    more = {each: tuple(axes) for each, axes in all_dims.items()}
    return Model.from_function(space, simulate, units, gradient=gradient, dims=more, **settings)


def design_config(times: np.ndarray, inputs: Mapping[str, np.ndarray]) -> dict:
    """The config by which a server of ours (`uqbench serve`) is told the design of a run.

    Example:
        >>> design_config(np.array([1.0]), {"dose": np.array(4.0)})
        {'times': [1.0], 'inputs': {'dose': 4.0}}
    """
    return {"times": times.tolist(), "inputs": {name: value.tolist() for name, value in inputs.items()}}


def _vectors(inputs) -> tuple[tuple[str | float, ...], ...]:
    return tuple((each,) if isinstance(each, str) else tuple(each) for each in inputs)


def _rising(times) -> tuple[float, ...]:
    """Times as numbers; none where they are no row of numbers that rise."""
    try:
        given = np.asarray(times, float)
    except (TypeError, ValueError):
        return ()
    sound = given.ndim == 1 and np.all(np.isfinite(given)) and np.all(np.diff(given) > 0)
    return (*given.tolist(),) if sound else ()


def _dims(outputs, sizes, numbers: bool) -> dict[str, tuple[str, ...]]:
    """Axes of each output; `numbers`: whether vectors of one entry are single numbers."""
    found: dict[str, tuple[str, ...]] = {}
    for index, each in enumerate(outputs):
        single = numbers and sizes is not None and index < len(sizes[1]) and sizes[1][index] == 1
        axes: tuple[str, ...] = ("time",) if isinstance(each, str) and not single else ()
        found |= dict.fromkeys(names_of(each), axes)
    return found
