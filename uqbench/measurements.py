"""The table of measurements of a study, as it comes from the bench and the clinic.

A value may be known only to lie below or above a limit (`censored`), or be missing; units may be written beside the
values. Everything that is wrong is found at once, with the lines of the file.
"""

import re
import warnings
from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from .errors import DataWarning, nearest
from .model import Model
from .units import unit_factor, unit_finding

COLUMNS = ("experiment", "output", "time", "value")
CENSORED, UNITS = "censored", "units"
# Limits of what the method of measurement can tell: a value beyond them is only known to be so.
LOWER_LIMIT, UPPER_LIMIT = "lower_limit", "upper_limit"
LIMITS = {LOWER_LIMIT: -np.inf, UPPER_LIMIT: np.inf}
BELOW, ABOVE, MEASURED = "below", "above", ""
# What else means that a value is below or above the number beside it: 1 and -1 are those of population programs.
WORDS = {
    **dict.fromkeys(("below", "left", "<", "1", "1.0", "true", "yes"), BELOW),
    **dict.fromkeys(("above", "right", ">", "-1", "-1.0"), ABOVE),
    **dict.fromkeys(("", "0", "0.0", "nan", "none", "no", "false", "measured"), MEASURED),
}
# "<0.5", "> 10", "<=3"
BEYOND = re.compile(r"\s*(<|>|≤|≥)(=?)\s*(\S+)\s*")
# An empty place, for those who write one.
EMPTY = ("", ".", "NA", "N/A", "nan", "NaN")
# The attribute of a table that says how many repeated rows have been named.
REPEATED = "repeated_rows"


def prepared(
    data: pd.DataFrame, model: Model, experiments: Mapping, unit: str | None
) -> tuple[pd.DataFrame, list[str]]:
    """The table with values and limits as numbers, without rows that have no value, and what is wrong with it.

    Args:
        data: with `COLUMNS`, the column `unit` of units, those that the noise of the model names, and where wanted
            `CENSORED`, `LIMITS` and `UNITS`.

    Returns:
        the table, and findings; where there are none, labels are text, and a table in which some value is censored or
        has a limit has the columns `CENSORED` ("below", "above" or ""), whose value is the limit, and `LIMITS`.

    Warns:
        DataWarning: rows without a value, which are left out; rows that are repeated in every column.
    """
    findings: list[str] = []
    empty = pd.Series(False, index=data.index)
    if "value" in data:
        data, empty, findings = _with_censoring(data, model)
    findings = _findings(data, empty, model, experiments, unit) + findings
    if findings:
        return data, findings
    if any(lost := _uncounted(data, empty, model, unit)):
        return data, [
            f"{rows_of(lost)}: value is missing of what is counted since the observation before, and whether the next "
            "one counts since this row or since the one before it is not known. Leave the row out where it counts from "
            "before it; write a value that says nothing, '>=0', where it does not."
        ]
    notes = [f"{rows_of(empty)}: value is missing; left out."] if any(empty) else []
    data = data[~empty]
    # a value of zero repeats, being what was not seen or what is to be measured
    told = pd.to_numeric(data["value"], errors="coerce") != 0
    repeated = data.duplicated(keep="first") & told & data["output"].astype(str).isin(_continuous(model))
    # a study made from another one has its table, of which this has been said
    if sum(repeated) > data.attrs.get(REPEATED, 0):
        notes.append(
            f"{rows_of(repeated)}: the same as a row before in every column. If they are other measurements, say so in "
            "a column, such as `replicate`; if not, they count twice."
        )
    for note in notes:
        warnings.warn(f"data: {note}", DataWarning, stacklevel=4)
    if CENSORED in data and len(data) and (data[CENSORED] != MEASURED).all():
        return data, ["every value is censored; give the study some that was measured."]
    typed = _typed(data, unit, model)
    typed.attrs[REPEATED] = int(sum(repeated))
    return typed, []


def bounds(rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values and their limits, `(rows,)` each: what lies outside its limits is known only to lie there."""
    value = rows["value"].to_numpy(float)
    if CENSORED not in rows:
        return value, np.full(len(rows), -np.inf), np.full(len(rows), np.inf)
    lower, upper = rows[LOWER_LIMIT].to_numpy(float), rows[UPPER_LIMIT].to_numpy(float)
    below, above = rows[CENSORED].to_numpy() == BELOW, rows[CENSORED].to_numpy() == ABOVE
    value = np.where(below, np.nextafter(lower, -np.inf), np.where(above, np.nextafter(upper, np.inf), value))
    return value, lower, upper


def values_of(data: pd.DataFrame) -> dict[str, np.ndarray]:
    """Output -> the values that `bounds` gives of its rows, `(rows,)`: a likelihood knows the censored ones by them."""
    return {str(output): bounds(rows)[0] for output, rows in data.groupby("output", sort=False)}


def placeholders(data: pd.DataFrame) -> pd.DataFrame:
    """The same measurements as ones to come: values that mean nothing, within any limits."""
    return data.drop(columns=[CENSORED, *LIMITS], errors="ignore").assign(value=0.0)


def with_values(data: pd.DataFrame, values: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """The same measurements with other values, by output; those beyond their limits are censored."""
    data = data.copy()
    for output, column in values.items():
        rows = data["output"] == output
        data.loc[rows, "value"] = np.asarray(column)
        if CENSORED in data:
            # a value that is its limit is none beyond it, as of a count
            data.loc[rows, CENSORED] = MEASURED
    return _censored(data) if CENSORED in data else data


def covariates_of(
    data: pd.DataFrame, column: str, experiments: Mapping, names: Iterable[str]
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Covariates of each unit, `(units,)` in the order of their first row, and what is missing of them.

    They are those of a column of the table, else inputs of the experiments.

    Args:
        column: whose values are the units. names: of the covariates.
    """
    found, findings = {}, []
    units = pd.unique(data[column])
    for name in names:
        if name in data:
            values = pd.to_numeric(data[name], errors="coerce")
        else:
            inputs = {each: design.inputs.get(name, np.nan) for each, design in experiments.items()}
            values = data["experiment"].map({each: float(np.reshape(value, -1)[0]) for each, value in inputs.items()})
        each = values.groupby(data[column], sort=False)
        several = [str(unit) for unit, count in each.nunique().items() if count > 1]
        lacking = [str(unit) for unit, known in each.apply(lambda rows: rows.notna().any()).items() if not known]
        if lacking:
            findings.append(
                f"the covariate {name!r} is missing for {column} {', '.join(lacking)}; give it in a column of the "
                "table or as an input of the experiments."
            )
        if several:
            findings.append(f"the covariate {name!r} has more than one value for {column} {', '.join(several)}.")
        found[name] = each.first().reindex(units).to_numpy(float)
    return found, findings


def rows_of(mask: pd.Series) -> str:
    """The affected rows: their lines in the file (where these are the index), or their places in the table."""
    lines = mask.index[np.asarray(mask)].tolist()
    what = mask.index.name or "row"
    shown = ", ".join(map(str, lines[:5])) + (", ..." if len(lines) > 5 else "")
    return f"{what} {shown}" if len(lines) == 1 else f"{what}s {shown}"


def same_text(what: str, given: Iterable) -> list[str]:
    """Labels that differ and have one text, such as 1 and "1": results could not tell them apart."""
    texts: dict[str, list] = {}
    for label in dict.fromkeys(given):
        texts.setdefault(str(label), []).append(label)
    return [
        f"the {what} {', '.join(map(repr, labels))} have one text; write them differently."
        for labels in texts.values()
        if len(labels) > 1
    ]


def _with_censoring(data: pd.DataFrame, model: Model) -> tuple[pd.DataFrame, pd.Series, list[str]]:
    """The table with plain values and, where some are censored, its columns; which are empty; what is wrong."""
    data, findings = data.copy(), []
    text = _plain(data["value"])
    beyond = text.map(lambda value: BEYOND.fullmatch(value) if isinstance(value, str) else None)
    limit = pd.to_numeric(beyond.map(lambda match: match and match[3]), errors="coerce")
    # a count of at most 3 is one below 4; that a real number equals its limit has no probability
    reached = beyond.map(lambda match: match is not None and (match[1] in "≤≥" or match[2] == "="))
    reached &= data["output"].astype(str).isin(_counted(model)) if "output" in data else False
    upward = beyond.map(lambda match: match is not None and match[1] in "<≤")
    limit = limit.where(~reached, np.where(upward, np.floor(limit) + 1, np.ceil(limit) - 1))
    marked = beyond.map(lambda match: MEASURED if match is None else BELOW if match[1] in "<≤" else ABOVE)
    marked = marked.where(limit.notna(), MEASURED)
    data["value"] = text.where(limit.isna(), limit)
    given = pd.Series(MEASURED, index=data.index)
    if CENSORED in data:
        words = _plain(data[CENSORED]).map(lambda word: "" if pd.isna(word) else str(word).lower())
        given = words.map(WORDS)
        if any(unknown := given.isna()):
            findings.append(
                f"{rows_of(unknown)}: censored {data.loc[unknown, CENSORED].iloc[0]!r} is neither 'below', 'above' nor "
                "empty."
            )
        given = given.fillna(MEASURED)
        if any(both := (marked != MEASURED) & (given != MEASURED) & (marked != given)):
            findings.append(f"{rows_of(both)}: the value and the column `censored` say different things.")
    side = marked.where(marked != MEASURED, given)
    empty = data["value"].isna()
    if any(lost := empty & (side != MEASURED)):
        findings.append(f"{rows_of(lost)}: censored without a value; give the limit as the value.")
    limited = any(column in data for column in LIMITS)
    if not limited and (side == MEASURED).all():
        return data.drop(columns=CENSORED, errors="ignore"), empty, findings
    value = pd.to_numeric(data["value"], errors="coerce")
    for column, none in LIMITS.items():
        numbers = pd.Series(none, index=data.index)
        if column in data:
            given_limit = _plain(data[column])
            numbers = pd.to_numeric(given_limit, errors="coerce")
            if any(wrong := numbers.isna() & given_limit.notna()):
                findings.append(f"{rows_of(wrong)}: {column} {given_limit[wrong].iloc[0]!r} is not a number.")
            numbers = numbers.fillna(none)
        data[column] = numbers.where(side != (BELOW if column == LOWER_LIMIT else ABOVE), value)
    if any(crossed := data[LOWER_LIMIT] >= data[UPPER_LIMIT]):
        findings.append(f"{rows_of(crossed)}: lower_limit is not below upper_limit.")
    data[CENSORED] = side
    return (data if findings else _censored(data)), empty, findings


def _plain(column: pd.Series) -> pd.Series:
    """The column as Python has it, whatever its dtype: text without spaces around it, NaN where it is empty."""
    stripped = column.astype(object).map(lambda value: value.strip() if isinstance(value, str) else value)
    return stripped.where(column.notna() & ~stripped.isin(EMPTY), np.nan)


def _censored(data: pd.DataFrame) -> pd.DataFrame:
    """The table in which values beyond their limits are these and are censored, and no others than those marked."""
    value = pd.to_numeric(data["value"], errors="coerce")
    marked = (data[CENSORED] == BELOW) & (value == data[LOWER_LIMIT])
    below = marked | (value < data[LOWER_LIMIT])
    above = ((data[CENSORED] == ABOVE) & (value == data[UPPER_LIMIT])) | (value > data[UPPER_LIMIT])
    side = np.where(below, BELOW, np.where(above, ABOVE, MEASURED))
    values = data["value"].where(~below, data[LOWER_LIMIT]).where(~above, data[UPPER_LIMIT])
    return data.assign(value=values, **{CENSORED: side})


def _continuous(model: Model) -> list[str]:
    """Outputs whose values repeat only by rounding: counts do, and draws from a distribution may."""
    return [output for output, noise in model.noise.items() if not (noise.discrete or noise.of_draws)]


def _uncounted(data: pd.DataFrame, empty: pd.Series, model: Model, unit: str | None) -> pd.Series:
    """Empty rows of increments after which there is a value, of the same unit, that may or may not include them."""
    names = {output: {output, *(model.noise_names(output) if output in model.noise else ())} for output in model.units}
    counted = [output for output, each in names.items() if each & {*model.increments}]
    lost = empty & data["output"].astype(str).isin(counted)
    if not any(lost):
        return lost
    time = pd.to_numeric(data["time"])
    run = [data[column].astype(str) for column in dict.fromkeys(("experiment", "output", unit or "experiment"))]
    measured = time.where(~empty)
    last = measured.groupby(run).transform("max")
    # beside another value at the same time it is a replicate
    alone = measured.groupby([*run, time]).transform("count") == 0
    return lost & (time < last) & alone


def _counted(model: Model) -> list[str]:
    """Outputs whose measurements are whole numbers."""
    return [output for output, noise in model.noise.items() if noise.discrete]


def _findings(data: pd.DataFrame, empty: pd.Series, model: Model, experiments: Mapping, unit: str | None) -> list[str]:
    needed = tuple(dict.fromkeys((*COLUMNS, *([unit] if unit else ()), *model.columns)))
    findings = [f"no column {name!r}; {nearest(name, [*data.columns])}" for name in needed if name not in data]
    if not len(data):
        findings.append("the table has no rows.")
    elif all(empty):
        findings.append("the table has no values; a study that only plans takes none, but experiments with times.")
    for column, known in (("experiment", [*experiments]), ("output", [*model.measured])):
        if column in data:
            for value in pd.unique(data[column]):
                if value not in known and str(value) not in known:
                    meaning = "experiment" if column == "experiment" else "output with noise"
                    findings.append(
                        f"{rows_of(data[column] == value)}: unknown {meaning} {value!r}; {nearest(str(value), known)}"
                    )
    findings += _number_findings(data, empty, model, experiments)
    findings += _unit_findings(data, model) if {UNITS, "output"} <= {*data} and unit != UNITS else []
    if unit and unit in data:
        if data[unit].isna().any():
            findings.append(f"{rows_of(data[unit].isna())}: {unit} is missing.")
        findings += same_text("units", data[unit].dropna().tolist())
    # worth a word where the table is refused anyhow
    return findings + ([f"{rows_of(empty)}: value is missing."] if findings and any(empty) else [])


def _number_findings(data: pd.DataFrame, empty: pd.Series, model: Model, experiments: Mapping) -> list[str]:
    # the columns that the noise names, at the rows of the outputs whose noise it is
    named = {
        column: data["output"]
        .astype(str)
        .isin([output for output in model.noise if column in model.noise_names(output)])
        for column in (model.columns if "output" in data else ())
    }
    whole, findings = pd.Series(True, index=data.index), []
    for column, of in {"time": whole, "value": whole, **named}.items():
        if column not in data:
            continue
        numbers = pd.to_numeric(data[column], errors="coerce")
        if any(text := of & numbers.isna() & data[column].notna()):
            findings.append(f"{rows_of(text)}: {column} {data.loc[text, column].iloc[0]!r} is not a number.")
        if column != "value" and any(missing := of & data[column].isna() & ~empty):
            findings.append(f"{rows_of(missing)}: {column} is missing.")
        # a measurement at the time inf is one of the steady state
        infinite = np.isneginf(numbers) if column == "time" else of & np.isinf(numbers)
        findings += [f"{rows_of(infinite)}: {column} is infinite."] if any(infinite) else []
        if column == "time" and any(early := _too_early(data, numbers, experiments)):
            findings.append(
                f"{rows_of(pd.Series(early, index=data.index))}: time lies before the start of the experiment "
                "(negative times need a design with an earlier `start`)."
            )
    return findings


def _unit_findings(data: pd.DataFrame, model: Model) -> list[str]:
    """Values in other units than those of the model: nothing is converted behind the author's back."""
    findings = []
    for output, rows in data.groupby(data["output"].astype(str), sort=False):
        expected = model.units.get(str(output))
        for given in pd.unique(rows[UNITS].dropna()) if expected is not None else ():
            where = rows_of((data["output"].astype(str) == output) & (data[UNITS] == given))
            if finding := unit_finding(given):
                findings.append(f"{where}: {finding}.")
            elif expected is None or (factor := unit_factor(given, expected)) is None:
                findings.append(f"{where}: {output} in {given!r} is not what the model gives, in {expected!r}.")
            elif not np.isclose(factor, 1.0, rtol=1e-12):
                findings.append(
                    f"{where}: {output} is in {given!r} and that of the model in {expected!r}; multiply by {factor:g}."
                )
    return findings


def _too_early(data: pd.DataFrame, times: pd.Series, experiments: Mapping) -> list[bool]:
    starts = {name: float(design.start) for name, design in experiments.items()}
    names = data["experiment"].astype(str) if "experiment" in data else [""] * len(data)
    return [bool(time < starts.get(name, 0.0)) for name, time in zip(names, times, strict=True)]


def _typed(data: pd.DataFrame, unit: str | None, model: Model) -> pd.DataFrame:
    data = data.reset_index(drop=True)
    for column in {"experiment", "output", unit} - {None}:
        data[column] = data[column].astype(str)
    if unit and unit != "experiment":
        # "s1" and "s1 " are one subject, as they are one level
        data[unit] = data[unit].str.strip()
    for column in ("time", "value", *model.columns):
        # a column of the noise may have anything in the rows of other outputs
        data[column] = pd.to_numeric(data[column], errors="coerce").astype(float)
    return data
