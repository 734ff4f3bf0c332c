"""The tables of a report, as data frames, and how their numbers are rounded.

A number is printed to the second digit of its error and no further: what follows is noise, and would be read as
knowledge. The functions here only read the tree; where a group is missing, its columns are missing too.
"""

from collections.abc import Mapping
from decimal import Decimal

import numpy as np
import pandas as pd
import xarray as xr

from ..results import attribute, group

PARTS = ("epistemic", "aleatory", "measurement")
MISSING = "–"
# No number is printed with more digits than this, however small its error.
MOST_DIGITS = 5
PLAIN = (1e-4, 1e6)
SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def rounded(value: float, error: float | None = None, *, digits: int = 3) -> str:
    """`value` as text, rounded to the second significant digit of `error`.

    Args:
        value: a number; NaN becomes a dash.
        error: its standard error or spread; without one, or where it is 0 or infinite, `digits` decide.
        digits: significant digits of `value` without an error.

    Returns:
        text with a typographic minus, and a power of ten where zeros would have to be counted.

    Example:
        >>> rounded(0.041234, 0.0021), rounded(96.3146, 0.7), rounded(1234.5, 210.0)
        ('0.0412', '96.31', '1230')
    """
    if value is None or np.isnan(value):
        return MISSING
    if np.isinf(value):
        return "∞" if value > 0 else "−∞"
    if error is None or not np.isfinite(error) or error <= 0:
        return _text(value, _place(value, digits) + 1 - digits) if value else "0"
    return _text(value, max(_place(error, 2) - 1, _place(value, MOST_DIGITS) + 1 - MOST_DIGITS))


def interval(lower: float, upper: float, error: float | None = None) -> str:
    """Both bounds, rounded alike: by `error`, or by their distance."""
    if error is None and np.isfinite(lower) and np.isfinite(upper):
        error = (upper - lower) / 4
    return f"{rounded(lower, error)} to {rounded(upper, error)}"


def percent(share: float, error: float | None = None) -> str:
    """A share as a percentage; whole percents where no error is given."""
    if not np.isfinite(share):
        return MISSING
    return f"{rounded(100 * share, 100 * error) if error else _text(100 * share, 0)}\N{NO-BREAK SPACE}%"


def unit_text(unit: str) -> str:
    """A unit as it is written by hand: 'mg*h/L' -> 'mg·h/L', 'm**2' -> 'm²'."""
    head, *powers = unit.replace("^", "**").split("**")
    for power in powers:
        digits = len(power) - len(power.lstrip("-0123456789"))
        head += power[:digits].translate(SUPERSCRIPT) + power[digits:]
    return head.replace("*", "·")


def _place(value: float, digits: int) -> int:
    """Decimal exponent of `value` once rounded to so many significant digits (0.0996 counts as 0.10)."""
    return int(f"{abs(value):.{digits - 1}e}".split("e")[1])


def _text(value: float, place: int) -> str:
    number = round(Decimal(repr(float(value))), -place)
    if not number:
        return f"{0:.{max(-place, 0)}f}"
    sign = "−" if number < 0 else ""
    if PLAIN[0] <= abs(number) < PLAIN[1]:
        return f"{sign}{abs(number):.{max(-place, 0)}f}"
    exponent = number.adjusted()
    mantissa = abs(number).scaleb(-exponent)
    power = f"\N{NO-BREAK SPACE}×\N{NO-BREAK SPACE}10{str(exponent).translate(SUPERSCRIPT)}"
    return f"{sign}{mantissa:.{max(exponent - place, 0)}f}{power}"


def output_unit(tree: xr.DataTree, output: str) -> str:
    """Unit of an output, as text for an axis; empty where the tree does not know it."""
    return unit_text((attribute(tree, "structure", "units") or {}).get(output, ""))


def time_unit(tree: xr.DataTree) -> str:
    """Unit of time, where the model's description gives one."""
    return unit_text((attribute(tree, "structure", "units") or {}).get("time", ""))


def unit_name(tree: xr.DataTree) -> str:
    """What the study calls its units ("subject", "cell"), else "unit"."""
    posterior = group(tree, "posterior")
    if posterior is not None:
        for variable in posterior.data_vars.values():
            if extra := [str(dim) for dim in variable.dims if dim not in ("chain", "draw")]:
                return extra[0]
    return "unit"


def described(tree: xr.DataTree) -> pd.DataFrame:
    """Every parameter in the order of the model: role and, where the tree knows them, unit, prior and meaning."""
    entries = attribute(tree, "structure", "parameters")
    if entries is not None:
        columns = {"role": "role", "unit": "unit", "prior": "distribution", "meaning": "doc"}
        rows = {entry["name"]: {column: entry.get(key, "") for column, key in columns.items()} for entry in entries}
        return pd.DataFrame.from_dict(rows, orient="index", columns=list(columns)).rename_axis("parameter")
    roles: dict[str, str] = {}
    for name in ("convergence", "fisher"):
        if (dataset := group(tree, name)) is not None:
            roles |= dict.fromkeys(map(str, dataset["parameter"].values), "epistemic")
    for name in ("prior", "posterior"):
        if (dataset := group(tree, name)) is not None:
            for parameter, variable in dataset.data_vars.items():
                varies = set(variable.dims) - {"chain", "draw"}
                roles.setdefault(str(parameter), "aleatory" if varies else "epistemic")
    return pd.DataFrame({"role": pd.Series(roles, dtype=object)}).rename_axis("parameter")


def parameters(tree: xr.DataTree) -> pd.DataFrame:
    """One row per parameter: what it is, what the data say about it, and whether its draws can be trusted.

    Args:
        tree: results of any verbs.

    Returns:
        by `parameter`: `role`, `unit`, `prior`, `meaning` (from /structure), `median`, `lower`, `upper`, `sd` (of the
        posterior, 90 %; over draws, and for an aleatory parameter over draws and units), `rhat`, `ess_bulk`,
        `ess_tail`, `resolved`, `tail_acceptance` (from /convergence), `standard_error` (predicted by the Fisher
        information). Columns whose group is missing are missing.

    Example:
        >>> import xarray as xr
        >>> posterior = xr.Dataset({"k": (("chain", "draw"), [[1.0, 2.0, 3.0]])})
        >>> parameters(xr.DataTree.from_dict({"posterior": posterior})).loc["k", "median"].item()
        2.0
    """
    table = described(tree)
    posterior, convergence, fisher = (group(tree, name) for name in ("posterior", "convergence", "fisher"))
    if posterior is not None:
        spread = {name: _spread(posterior[name].values) for name in table.index if name in posterior}
        table = table.join(pd.DataFrame.from_dict(spread, orient="index", columns=["median", "lower", "upper", "sd"]))
    if convergence is not None:
        columns = ["rhat", "ess_bulk", "ess_tail", "resolved"]
        columns += ["tail_acceptance"] if "tail_acceptance" in convergence else []
        table = table.join(_by(convergence[columns], "parameter"))
    if fisher is not None:
        table = table.join(_by(fisher[["standard_error"]], "parameter"))
    return table


def identifiability(tree: xr.DataTree) -> pd.DataFrame:
    """What can be known of each free parameter: from perfect data, from these to first order, and by now.

    Returns:
        by `parameter`: `verdict`, `locally`, `method`, `reason`, `combination` (from /structure); `standard_error`,
        `relative_error` and `weakest`, its weight in the least known direction (from /fisher); `posterior_sd` and
        `posterior_relative` of epistemic parameters.
    """
    structure, fisher, posterior = (group(tree, name) for name in ("structure", "fisher", "posterior"))
    known = described(tree)
    table = pd.DataFrame(index=known.index[known["role"] != "fixed"])
    if structure is not None:
        columns = ["verdict", "locally", "method", "reason", "combination"]
        table = _by(structure[[c for c in columns if c in structure]], "parameter").reindex(table.index)
    if fisher is not None:
        predicted = _by(fisher[["standard_error"]], "parameter")
        predicted["relative_error"] = np.where(
            fisher["logarithmic"], fisher["cramer_rao"], fisher["standard_error"] / np.abs(fisher["value"])
        )
        predicted["weakest"] = fisher["direction"].isel(mode=int(np.argmin(fisher["eigenvalue"].values))).values
        table = table.join(predicted)
    if posterior is not None:
        names = [name for name in table.index if name in posterior and known.loc[name, "role"] == "epistemic"]
        sd = pd.Series({name: float(posterior[name].std()) for name in names}, dtype=float)
        centre = pd.Series({name: float(posterior[name].median()) for name in names}, dtype=float)
        table = table.join(pd.DataFrame({"posterior_sd": sd, "posterior_relative": sd / centre.abs()}))
    return table


def generators(tree: xr.DataTree) -> tuple[list[str], bool]:
    """Functions that generate all identifiable ones, as text, and whether these are all."""
    structure = group(tree, "structure")
    if structure is None or "expression" not in structure:
        return [], False
    complete = attribute(tree, "structure", "generators_complete")
    return structure["expression"].values.astype(str).tolist(), bool(complete)


def variance(tree: xr.DataTree) -> pd.DataFrame:
    """The split of each quantity's variance; empty before `decompose`.

    Returns:
        by `quantity`: `unit`, `doc`, `mean` and its Monte Carlo error `mean_error`, `sd`, `lower`, `median`, `upper`
        (90 %), and every part of /variance (`epistemic`, `aleatory`, `total`, shares) with `_lower`, `_upper`,
        `_standard_error`.
    """
    dataset = group(tree, "variance")
    if dataset is None:
        return pd.DataFrame(index=pd.Index([], name="quantity"))
    table = _by(
        dataset[[name for name, values in dataset.data_vars.items() if values.dims == ("quantity",)]], "quantity"
    )
    between = np.maximum(table["epistemic"], 0) / table["n_valid"] if "n_valid" in table else np.nan
    within = table["aleatory"] / table["n_runs"] if "n_runs" in table else np.nan
    table["mean_error"] = np.sqrt(between + within)
    table["sd"] = np.sqrt(table["total"])
    for column, bound in (("lower", 0.05), ("median", 0.5), ("upper", 0.95)):
        table[column] = dataset["interval"].sel(bound=bound, method="nearest").values
    return table


def with_variance(dataset: xr.Dataset) -> xr.Dataset:
    """/variance or /sobol without the quantities that have no variance to split."""
    return dataset.isel(quantity=dataset["reason"].values == "") if "reason" in dataset else dataset


# What the coordinate `<output>_censored` of /observed_data says of values that are only limits.
BELOW, ABOVE = "below", "above"


def coverage(tree: xr.DataTree, output: str, level: float = 0.9) -> tuple[int, int]:
    """How many observations of `output` lie inside the central predictive interval, and of how many.

    One below a limit does where the interval reaches below that.
    """
    predicted, observed = tree["posterior_predictive"][output].values, tree["observed_data"][output].values
    sides = sides_of(tree["observed_data"], output)
    tail = (1 - level) / 2
    lower, upper = np.nanquantile(predicted.reshape(-1, predicted.shape[-1]), (tail, 1 - tail), axis=0)
    inside = ((observed >= lower) | (sides == ABOVE)) & ((observed <= upper) | (sides == BELOW))
    return int(np.sum(inside)), observed.size


def sides_of(observed: xr.Dataset | xr.DataTree, output: str) -> np.ndarray:
    """ "below" or "above" where an observation is only a limit, "" elsewhere, `(rows,)`."""
    name = f"{output}_censored"
    return observed[name].values.astype(str) if name in observed.coords else np.full(observed[output].size, "")


def narrowing(tree: xr.DataTree) -> pd.Series:
    """How often the posterior 90 % interval of each epistemic parameter fits into the prior one."""
    prior, posterior = tree["prior"].to_dataset(), tree["posterior"].to_dataset()
    names = [name for name in described(tree).index if name in prior and name in posterior]
    return pd.Series({name: _width(prior[name].values) / _width(posterior[name].values) for name in names}, dtype=float)


def parts(dataset: xr.Dataset | Mapping) -> tuple[str, ...]:
    """Which of epistemic, aleatory, measurement the variance was split into; not those that are exactly zero.

    Nothing is aleatory where no parameter differs between units and the model is not random.
    """
    split = tuple(name for name in PARTS if name in dataset)
    return (
        tuple(name for name in split if np.any([dataset[f"{name}{end}"] for end in ("", "_lower", "_upper")])) or split
    )


def _spread(draws: np.ndarray) -> tuple[float, ...]:
    median, lower, upper = np.nanquantile(draws, (0.5, 0.05, 0.95))
    return float(median), float(lower), float(upper), float(np.nanstd(draws))


def _width(draws: np.ndarray) -> float:
    lower, upper = np.nanquantile(draws, (0.05, 0.95))
    return max(upper - lower, np.finfo(float).tiny)


def _by(dataset: xr.Dataset, name: str) -> pd.DataFrame:
    columns = {str(column): values.values for column, values in dataset.data_vars.items()}
    return pd.DataFrame(columns, index=pd.Index(dataset[name].values.astype(object), name=name))
