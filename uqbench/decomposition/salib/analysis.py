"""SALib's methods beyond Sobol indices, for any space: where to run the model, and what the runs say.

Sobol indices ask for many runs in a fixed pattern. The methods here ask for less, or ask something else:

- "morris": few runs. One input at a time takes a step of more than half of its probability; the mean size of the
  effect ranks the inputs (`mu_star`), its spread tells of curvature or interaction (`sigma`). Morris 1991,
  doi:10.1080/00401706.1991.10484804; Campolongo et al. 2007, doi:10.1016/j.envsoft.2006.10.004.
- "fast": first-order and total indices from Fourier series along curves that fill the cube, one curve per input.
  Saltelli, Tarantola and Chan 1999, doi:10.1080/00401706.1999.10485594.
- "rbd_fast": first-order indices from any sample, by sorting it. Tarantola et al. 2006, doi:10.1016/j.ress.2005.06.003.
- "pawn": how far the distribution of the output moves when an input is held in a slice (Kolmogorov-Smirnov). Pianosi
  and Wagener 2015, doi:10.1016/j.envsoft.2015.01.004.
- "delta": the same with densities. Borgonovo 2007, doi:10.1016/j.ress.2006.04.015.
- "hdmr": a surrogate of splines in one to three inputs, and the variance of its terms; it tells apart what an input
  does by itself (`Sa`) and through its correlation with others (`Sb`). Li et al. 2010, doi:10.1021/jp9096919.

SALib samples and analyses the unit cube; the space maps to natural values and back. "delta" and "hdmr" look at the
natural values, which may depend on each other; each column enters by its ranks, which changes neither (both are
invariant to a monotone change of an input) and keeps bins and splines filled where the values have heavy tails.

SALib fails silently in ways that are caught here: a NaN makes every index zero, seed 0 is ignored, "hdmr" ignores every
seed, random numbers come from numpy's global generator (its state is put back), a design that does not fit its method
gives numbers all the same. What SALib warns of is kept in the attribute `warnings` of the result.
"""

from collections.abc import Mapping, Sequence
from types import MethodType
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from ...errors import InputError, nearest
from ...space import Space
from ..runs import (
    Unusable,
    dependence_findings,
    in_place,
    members_of,
    output_labels,
    sentences,
    setting_findings,
    usable_or_error,
)
from ..sobol.plan import CubeSpace, group_findings
from .methods import (
    METHODS,
    OUTERMOST,
    Groups,
    Resampling,
    method_settings,
    salib_apart,
    term_names,
    unit_problem,
)

if TYPE_CHECKING:
    from SALib.util import ResultDict

# Methods with samples of their own, whose columns need not look independent.
DESIGNS = ("morris", "fast")
EDGE = 2.0**-31  # quantiles of unbounded families are infinite on the faces of the cube


def salib_sample(
    space: CubeSpace,
    method: str,
    n: int,
    *,
    seed: int = 0,
    groups: Mapping[str, Sequence[str]] | None = None,
    **settings: int,
) -> np.ndarray:
    """The input values at which a model must be run for one of SALib's methods.

    The points are SALib's in the unit cube, mapped by the quantiles of the space, so any distribution will do, also
    one that names other parameters. The `levels` of "morris" are evenly spaced from probability 0.01 to 0.99: SALib's
    grid from 0 to 1 has its ends on the faces of the cube, where a normal is infinite.

    Args:
        space: a `Space`, or anything with `free` and `from_cube`.
        method: "morris", "fast", "rbd_fast", "pawn", "delta" or "hdmr".
        n: for "morris" trajectories, of d + 1 rows each (with groups, their number + 1); for "fast" points of each of
            the d curves; else rows of a Latin hypercube.
        seed: 0 is a seed.
        groups: only "morris": label -> names of parameters moved together; every free parameter in exactly one.
        **settings: "morris": `levels` (4), even; "fast": `harmonics` (4). The analysis needs the same.

    Returns:
        `(rows, d)` natural values, columns in the order of `space.free`.

    Raises:
        InputError: with every finding.

    Example:
        >>> from uqbench import Normal, Space, epistemic
        >>> salib_sample(Space(a=epistemic(Normal(0, 1)), b=epistemic(Normal(0, 1))), "morris", 10).shape
        (30, 2)
    """
    names = tuple(space.free)
    settings, groups, findings = _checked(method, names, seed, groups, settings)
    if not findings and (int(n) != n or n < METHODS[method].least(settings)):
        least, unit = METHODS[method].least(settings), METHODS[method].unit
        findings.append(f"n is {n}; {method!r} needs a whole number of {unit}, at least {least}.")
    if findings:
        raise InputError("salib_sample", findings)
    problem = unit_problem(names, groups if method == "morris" else None)
    if method == "morris":
        from SALib.sample import morris

        grid = morris.sample(problem, int(n), num_levels=settings["levels"], seed=seed)
        cube = OUTERMOST + (1 - 2 * OUTERMOST) * grid
    elif method == "fast":
        from SALib.sample import fast_sampler

        cube = fast_sampler.sample(problem, int(n), M=settings["harmonics"], seed=seed)
    else:
        from SALib.sample import latin

        cube = latin.sample(problem, int(n), seed=seed)
    values = space.from_cube(np.clip(cube, EDGE, 1 - EDGE))
    x = np.stack([np.asarray(values[name], dtype=float) for name in names], axis=-1)
    infinite = [name for name, column in zip(names, x.T, strict=True) if not np.isfinite(column).all()]
    if infinite:
        finding = "{!r} has values that are not finite; bound its prior."
        raise InputError("salib_sample", [finding.format(name) for name in infinite])
    return x


def salib_analysis(
    space: Space,
    method: str,
    x: np.ndarray,
    y: np.ndarray | xr.DataArray,
    *,
    seed: int = 0,
    groups: Mapping[str, Sequence[str]] | None = None,
    confidence: float = 0.95,
    resamples: int = 100,
    max_failed: float = 0.2,
    **settings: int,
) -> xr.Dataset:
    """What one of SALib's methods says about runs of a model.

    Failed runs (NaN) are left out with what they belong to: their trajectory for "morris", their row for the methods
    that take any sample; "fast" refuses them. Indices named as in `sobol_indices` estimate the same quantities.

    "morris", "fast", "rbd_fast" and "pawn" speak of the independent coordinates of the unit cube, as `sobol_indices`
    does; "delta" and "hdmr" of the natural values. The two differ only for a parameter that names others.

    Args:
        space: the `Space` that `x` was drawn from.
        method: "morris", "fast", "rbd_fast", "pawn", "delta" or "hdmr".
        x: `(rows, d)` natural values, columns in the order of `space.free`; for "morris" and "fast" from
            `salib_sample`, for the others any independent sample of the space.
        y: `(rows[, output...])`; dimensions and coordinates of a DataArray are kept.
        seed: of the resampling; 0 is a seed.
        groups: only "morris": as in `salib_sample`.
        confidence: level of the half widths `..._conf`.
        resamples: bootstrap resamples ("hdmr": at most 100).
        max_failed: fraction of trajectories or rows that may be lost before it is an error.
        **settings: "morris": `levels` (4); "fast": `harmonics` (4); "rbd_fast": `harmonics` (10); "pawn": `slices`
            (10); "hdmr": `order` of the largest terms (2) and `intervals` of the splines (2).

    Returns:
        by `parameter` (or the labels of the groups) and output:
        "morris": `mu`, `mu_star`, `sigma`, `mu_star_conf`, in units of the output per unit of probability (`sigma` of
        a group of several is NaN: its members move in different directions);
        "fast": `S1`, `ST`, `S1_conf`, `ST_conf` (resampled stretches of the curve: indicative only, as SALib warns);
        "rbd_fast": `S1`, `S1_conf` (of half-sized resamples, so about 1.4 times too wide);
        "pawn": `minimum`, `mean`, `median`, `maximum`, `CV`, and `dummy`, the median for an input without any
        influence: what is not above it is not resolved;
        "delta": `delta`, `delta_conf`, `S1`, `S1_conf`, all by classes of equal probability (5 at 500 rows, 11 at
        2000): what an input does within a class is not seen; the estimates are those of the sample as it is, whatever
        the seed, and `delta_bias` is by how much the bootstrap finds `delta` too large, for an input without any
        influence about half of it (Plischke, Borgonovo and Smith 2013, doi:10.1016/j.ejor.2012.11.047, subtract it);
        "hdmr": `ST`, `ST_conf`, by `term` ("a", "a/b") `Sa`, `Sb`, `S` with `_conf`, and `explained`, the sum of `S`:
        much below 1 the splines are too stiff (raise `intervals`), above 1 they fit chance, and `ST` is too large;
        and `n_valid` by output, the trajectories, points or rows used. An output that does not vary, with infinite
        values or too many failed runs is NaN, and `reason` by output says why.

    Raises:
        InputError: with every finding: shapes, settings, a sample that is no design of the method, no output that can
            be analysed; for "fast" any failed run.

    Example:
        >>> from uqbench import Space, Uniform, epistemic
        >>> space = Space(a=epistemic(Uniform(0.0, 1.0)), b=epistemic(Uniform(0.0, 1.0)))
        >>> x = salib_sample(space, "morris", 10)
        >>> salib_analysis(space, "morris", x, x @ [2.0, 1.0]).mu_star.values.round(6)
        array([2., 1.])
    """
    names, how = tuple(space.free), Resampling(confidence, resamples, seed)
    settings, groups, findings = _checked(method, names, seed, groups, settings)
    findings += setting_findings(confidence, resamples, max_failed)
    findings += _hdmr_findings(how, len(names), settings) if method == "hdmr" else []
    findings += _table_findings(np.asarray(x), np.asarray(y), len(names))
    if findings:
        raise InputError("salib_analysis", findings)
    shape, (dims, coords) = np.shape(y)[1:], output_labels(y, (0,))
    inputs, runs, lost, reasons = _arranged(space, method, np.asarray(x, float), y, groups, settings, max_failed, dims)
    problem, usable = unit_problem(names, groups if method == "morris" else None), reasons == Unusable.NO
    found, said = _analyses(method, problem, inputs, runs[..., usable], lost[:, usable], settings, how)
    data = {}
    for kind, (leading, _) in found[0].items():
        values = in_place(np.stack([each[kind][1] for each in found], axis=-1), usable)
        data[kind] = ((*leading, *dims), values.reshape((*values.shape[:-1], *shape)))
    data["n_valid"] = (dims, (~lost).sum(axis=0).reshape(shape))
    data["reason"] = (dims, sentences(reasons).reshape(shape))
    coords = {**coords, "parameter": list(groups)}
    if method == "hdmr":
        coords["term"] = term_names(names, settings["order"])
    attrs = {"method": f"SALib {method}", **settings, **how._asdict(), "max_failed": max_failed}
    return xr.Dataset(data, coords, attrs={**attrs, "warnings": list(dict.fromkeys(said))})


def _analyses(method, problem, inputs, runs, lost, settings, how: Resampling) -> tuple[list[dict], list[str]]:
    """What SALib finds of each output by itself, and the warnings that it gives meanwhile."""
    found: list[dict] = []
    said: list[str] = []
    for k in range(runs.shape[-1]):
        keep = ~lost[:, k]
        with salib_apart(how.seed, said):
            found.append(METHODS[method].analysis(problem, inputs[:, keep], runs[:, keep, k], settings, how))
    return found, said


def salib_table(indices: xr.Dataset) -> "ResultDict":
    """Sobol indices of one output as SALib's own result, whose `plot()` and `to_df()` work.

    Args:
        indices: from `sobol_indices`, with one output.

    Returns:
        `S1`, `S1_conf`, `ST`, `ST_conf` `(d,)` and, where there, `S2`, `S2_conf` `(d, d)`, NaN but above the diagonal;
        `names`. SALib has symmetric intervals: `_conf` is half the width of ours.

    Raises:
        InputError: when there are several outputs, or no indices.

    Example:
        >>> from uqbench import Space, Uniform, epistemic
        >>> from uqbench.decomposition import sobol_indices, sobol_plan
        >>> plan = sobol_plan(Space(a=epistemic(Uniform(0.0, 1.0)), b=epistemic(Uniform(0.0, 1.0))), 64)
        >>> salib_table(sobol_indices(plan, plan.inputs @ [2.0, 1.0])).to_df()[0].columns.tolist()
        ['ST', 'ST_conf']
    """
    missing = [kind for kind in ("S1", "ST") if kind not in indices or f"{kind}_lower" not in indices]
    findings = [
        f"it has no {kind} with {kind}_lower and {kind}_upper; give a result of sobol_indices." for kind in missing
    ]
    if not missing and (outputs := [str(dim) for dim in indices.S1.dims if dim != "parameter"]):
        findings.append(f"it has the outputs {', '.join(outputs)}; select one, e.g. indices.isel({outputs[0]}=0).")
    if findings:
        raise InputError("salib_table", findings)
    from SALib.analyze import sobol
    from SALib.util import ResultDict

    names = [str(name) for name in indices.parameter.values]
    table = ResultDict(names=names)
    for kind in ("S1", "ST", "S2"):
        # A single parameter has no pair, and SALib cannot make a table of none.
        if kind in indices and (kind != "S2" or len(names) > 1):
            values, half = indices[kind].values, (indices[f"{kind}_upper"] - indices[f"{kind}_lower"]).values / 2
            if kind == "S2":
                above = np.triu(np.ones(values.shape, dtype=bool), 1)
                values, half = np.where(above, values, np.nan), np.where(above, half, np.nan)
            table[kind], table[f"{kind}_conf"] = values, half
    table.problem = {"names": names, "num_vars": len(names)}
    table.to_df = MethodType(sobol.to_df, table)
    return table


def _checked(
    method: str, names: tuple[str, ...], seed: int, groups: Mapping | None, settings: Mapping[str, int]
) -> tuple[dict[str, int], Groups, list[str]]:
    """Settings with defaults, groups in the order of the parameters, and what is wrong; no method, no further word."""
    if method not in METHODS:
        raise InputError("SALib method", [f"{method!r} is unknown; {nearest(method, list(METHODS))}"])
    findings = [] if names else ["the space has no free parameter, so there is nothing to vary."]
    if not isinstance(seed, int | np.integer) or not 0 <= seed < 2**32:
        findings.append(f"seed is {seed!r}; give a whole number from 0 to 2^32 - 1.")
    settings = method_settings(method, settings, findings)
    if groups is not None and method != "morris":
        findings.append(
            f"groups are for 'morris'; {method!r} takes each parameter alone (sobol_plan takes groups too)."
        )
        groups = None
    groups = {name: (name,) for name in names} if groups is None else {k: members_of(v) for k, v in groups.items()}
    findings += group_findings(groups, names)
    # SALib names groups in the order in which their first members come.
    first = {
        label: min((names.index(m) for m in members if m in names), default=0) for label, members in groups.items()
    }
    return settings, {label: groups[label] for label in sorted(groups, key=first.get)}, findings


def _hdmr_findings(how: Resampling, d: int, settings: Mapping[str, int]) -> list[str]:
    findings = []
    if how.resamples > 100 or how.confidence < 0.5:
        findings.append("'hdmr' takes at most 100 resamples, and a confidence of at least 0.5.")
    if d < max(2, settings["order"]):
        findings.append(f"'hdmr' of order {settings['order']} needs as many parameters, at least 2.")
    return findings


def _table_findings(x: np.ndarray, y: np.ndarray, d: int) -> list[str]:
    findings = [
        f"{name} holds {table.dtype}; give real numbers."
        for name, table in (("x", x), ("y", y))
        if table.dtype.kind not in "fiub"
    ]
    if x.ndim != 2 or x.shape[1] != d:
        findings.append(f"x has shape {x.shape}; give (rows, {d}), one column per free parameter.")
    elif not findings and not np.isfinite(x.astype(float)).all():
        findings.append(
            f"x has {(~np.isfinite(x)).any(axis=1).sum()} rows that are not finite; leave them out, with y."
        )
    if y.ndim < 1 or y.shape[:1] != x.shape[:1] or 0 in y.shape:
        findings.append(
            f"y has shape {y.shape}; give ({x.shape[0] if x.ndim else 'rows'}[, output...]), a value per row of x."
        )
    return findings


def _arranged(space, method, x, y, groups, settings, max_failed, dims) -> tuple[np.ndarray, ...]:
    """Inputs (block, unit, parameter), runs (block, unit, output), which units (unit, output) are lost, and why outputs
    cannot be analysed."""
    runs = np.asarray(y, dtype=float).reshape(len(x), -1)
    findings = _support_findings(space, x)
    if not findings and method not in DESIGNS:
        findings += dependence_findings(np.asarray(space.conditional_laws(space.theta(x))[1]), space.free)
    failed = int(np.isnan(runs).any(axis=1).sum())
    if method == "fast" and failed:
        findings.append(
            f"{failed} of {len(x)} runs are NaN; 'fast' reads the runs of a curve as one periodic signal, so none may "
            "be missing. Find out why they fail, restrict the inputs, or take a method that leaves rows out (rbd_fast)."
        )
    if findings:
        raise InputError("salib_analysis", findings)
    inputs = METHODS[method].inputs(space, x, groups, settings)
    blocks, units = inputs.shape[:2]
    # The points of a trajectory follow each other; the curves, and a single block, come one after the other.
    by_unit = method == "morris"
    runs = runs.reshape(units, blocks, -1).swapaxes(0, 1) if by_unit else runs.reshape(blocks, units, -1)
    lost = np.isnan(runs).any(axis=0)
    used = np.where(lost, np.nan, runs)
    unit, least = METHODS[method].unit, METHODS[method].least(settings)
    reasons, usable = usable_or_error("salib_analysis", used, lost, max_failed, np.shape(y)[1:], dims, unit)
    left = (~lost).sum(axis=0)
    if left[usable].max() < least:
        finding = f"{left[usable].max()} {unit} are left; {method!r} needs {least}. Run the model more often."
        raise InputError("salib_analysis", [finding])
    reasons[usable & (left < least)] = Unusable.FAILED
    return inputs, runs, lost, reasons


def _support_findings(space: Space, x: np.ndarray) -> list[str]:
    theta, findings = space.theta(x), []
    for name in space.free:
        lower, upper = space[name].dist.support(theta)
        outside = int(((theta[name] < lower) | (theta[name] > upper)).sum())
        if outside:
            findings.append(f"x has {outside} values of {name!r} outside its support; x must be drawn from this space.")
    return findings
