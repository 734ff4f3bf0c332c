"""Tables of dosing records, one line for each dose or measurement of a subject, as pharmacometricians have them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from .csv_files import read_csv
from .design import Design
from .errors import InputError, nearest

# The names that the columns have in NONMEM's layout.
LAYOUT = {"id": "ID", "time": "TIME", "value": "DV", "amount": "AMT"}
OPTIONAL = ("EVID", "MDV", "ADDL", "II", "RATE", "SS", "CMT", "CENS")
MISSING = (".", "NA", "")
# How far behind a dose a measurement is put whose record stands behind it at the same time, as a part of the subject's
# last time: what is measured at the time of a dose sees the state before it. Below the tolerance of a solve.
AFTER = 1e-9


@dataclass(frozen=True)
class DosingRecords:
    """What a `Study` needs of a table of dosing records, made by `read_dosing_records`.

    Args:
        experiments: name -> `Design` of each subject. Its inputs are its covariates and, where doses are recorded,
            `dose_times` and `dose_amounts`, as many as it got.
        data: the measurements as `Study` wants them, with the column of subjects and all others of the table.
        unit: the column of subjects.
    """

    experiments: dict[str, Design]
    data: pd.DataFrame
    unit: str


def read_dosing_records(
    table: pd.DataFrame | str | Path,
    *,
    output: str | Mapping,
    covariates: Sequence[str] = (),
    columns: Mapping[str, str] | None = None,
) -> DosingRecords:
    """Data and designs from a table in NONMEM's layout: `ID`, `TIME`, `DV`, `AMT`, and covariates.

    A line with an amount above zero is a dose, any other one a measurement. Where there are the columns `EVID` (0 a
    measurement, 1 a dose, 2 neither) and `MDV` (1: no measurement), they count; `ADDL` and `II` repeat a dose; `CENS`
    says that the value is a limit below (1) or above (-1) which it lies. "." is no value. A measurement that stands
    behind a dose of the same time sees it (its time is put behind by a part of 1e-9); one that coincides with a
    repetition does not.

    Doses go where the model's `doses` puts `inputs["dose_times"]` and `inputs["dose_amounts"]`.

    Args:
        table: long table, or the path of a CSV file.
        output: of the model that `DV` is; or value of the column `DVID` -> output.
        covariates: columns that have one value for each subject (body weight): inputs of its design under their names.
        columns: other names than the usual ones: "id", "time", "value", "amount" -> column of the table; `AMT` may be
            missing where doses are covariates.

    Raises:
        InputError: with everything that is wrong: columns that are missing, numbers that are none, a covariate that
            changes within a subject, events and infusions that are not read.

    Example:
        >>> records = {"ID": [1, 1, 2, 2, 2], "TIME": [0, 2, 0, 1, 4], "DV": [".", 3, ".", ".", 5]}
        >>> table = pd.DataFrame(records | {"AMT": [9, ".", 8, 7, "."], "WT": [70, 70, 60, 60, 60]})
        >>> found = read_dosing_records(table, output="C", covariates=["WT"])
        >>> found.experiments["2"].inputs["dose_amounts"].tolist(), found.data["value"].tolist()
        ([8.0, 7.0], [3.0, 5.0])
    """
    records = _Records.of(table, output, covariates, columns or {})
    if findings := records.findings():
        raise InputError("dosing records", findings)
    experiments, parts = {}, []
    for subject, rows in records.frame.groupby(records.names["id"], sort=False):
        design, measured = records.of_subject(rows)
        experiments[str(subject)] = design
        parts.append(measured.assign(experiment=str(subject)))
    # the rows keep their order and, of a file, the numbers of their lines are no longer those of the table
    return DosingRecords(experiments, pd.concat(parts).reset_index(drop=True), records.names["id"])


@dataclass(frozen=True)
class _Records:
    """The table with numbers, which of its lines are doses and measurements, and what was asked of it."""

    frame: pd.DataFrame
    text: dict[str, pd.Series]
    names: dict[str, str]
    output: str | Mapping
    covariates: tuple[str, ...]
    unknown: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, table, output, covariates, columns: Mapping[str, str]) -> "_Records":
        if not isinstance(table, pd.DataFrame):
            try:
                table = read_csv(table, dtype=str)
            except (OSError, pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
                raise InputError("dosing records", [f"{str(table)!r} cannot be read: {error}"]) from error
        frame, names = table.reset_index(drop=True), {**LAYOUT, **columns}
        unknown = [f"columns names {each!r}; known are {', '.join(map(repr, LAYOUT))}." for each in columns
                   if each not in LAYOUT]  # fmt: skip
        numeric = [*(names[each] for each in ("time", "value", "amount")), *covariates, *OPTIONAL]
        text = {}
        for name in dict.fromkeys(numeric):
            if name in frame:
                given = frame[name].where(~frame[name].astype(str).str.strip().isin(MISSING))
                numbers = pd.to_numeric(given, errors="coerce").astype(float)
                text[name] = given[numbers.isna() & given.notna()]
                frame = frame.assign(**{name: numbers})
        return cls(frame, text, names, output, tuple(covariates), unknown)

    def column(self, name: str, default: float = 0.0) -> pd.Series:
        """An optional column, without gaps."""
        if name not in self.frame:
            return pd.Series(default, index=self.frame.index)
        return self.frame[name].fillna(default)

    @property
    def doses(self) -> pd.Series:
        """Whether a line is a dose."""
        return (self.column(self.names["amount"]) > 0) & (self.column("EVID", 1.0) == 1)

    @property
    def measured(self) -> pd.Series:
        """Whether a line is a measurement."""
        other = (self.column("EVID") != 0) | (self.column("MDV") != 0) | (self.column(self.names["amount"]) > 0)
        return ~other

    def findings(self) -> list[str]:
        """Everything that is wrong with the table."""
        frame, names = self.frame, self.names
        needed = [*(names[each] for each in ("id", "time", "value")), *self.covariates]
        needed += ["DVID"] if isinstance(self.output, Mapping) else []
        lacking = [name for name in dict.fromkeys(needed) if name not in frame]
        findings = self.unknown + [
            f"no column {name!r}; {nearest(name, [*map(str, frame.columns)])}" for name in lacking
        ]
        findings += [
            f"{_lines(bad.index)}: {name} {bad.iloc[0]!r} is not a number."
            for name, bad in self.text.items()
            if len(bad)
        ]
        if lacking:
            return findings
        if not self.measured.any():
            findings.append("no line is a measurement.")
        dosed, amount, kind = self.column(names["amount"]) > 0, self.column(names["amount"]), self.column("EVID")
        time, value, more = frame[names["time"]], frame[names["value"]], self.column("ADDL")
        wrong = {
            f"{names['id']} is missing": frame[names["id"]].isna(),
            f"{names['time']} is missing or not finite": ~np.isfinite(time) & (self.doses | self.measured),
            f"{names['value']} of a measurement is missing or not finite": self.measured & ~np.isfinite(value),
            f"{names['amount']} is negative or not finite": ~(amount >= 0) | np.isinf(amount),
            "EVID is none of 0 (a measurement), 1 (a dose) and 2 (neither)": ~kind.isin([0.0, 1.0, 2.0]),
            "EVID is 1, a dose, and there is no amount": (kind == 1) & ~dosed,
            "EVID is 0, a measurement, and there is an amount": ("EVID" in frame) & (kind == 0) & dosed,
            "an infusion (RATE); write it in the model, as switches of the right-hand side": self.column("RATE") != 0,
            "a steady state of doses (SS); give the doses before": self.column("SS") != 0,
            "doses are repeated (ADDL) at no interval (II) above zero": (more > 0) & ~(self.column("II") > 0),
            "ADDL is negative or no whole number": (more < 0) | (more % 1 != 0),
        }
        findings += [f"{_lines(frame.index[bad])}: {text}." for text, bad in wrong.items() if bad.any()]
        if len(used := sorted(set(self.column("CMT", 1.0)[self.doses]))) > 1:
            findings.append(
                f"doses go to the compartments {', '.join(f'{each:g}' for each in used)} (CMT); only one is read."
            )
        return findings + self._output_findings() + self._covariate_findings()

    def _output_findings(self) -> list[str]:
        if not isinstance(self.output, Mapping):
            return []
        given, known = self.frame["DVID"][self.measured].map(_label), {_label(each) for each in self.output}
        return [
            f"{_lines(given.index[given == value])}: DVID {value}; `output` has {', '.join(sorted(known))}."
            for value in pd.unique(given)
            if value not in known
        ]

    def _covariate_findings(self) -> list[str]:
        findings = []
        for name in self.covariates:
            for subject, rows in self.frame.groupby(self.names["id"], sort=False):
                values = rows[name].dropna().unique()
                if len(values) != 1 or not np.isfinite(values[0]):
                    what = (
                        f"has the values {', '.join(f'{each:g}' for each in values)}" if len(values) else "has no value"
                    )
                    findings.append(f"the covariate {name!r} {what} in {self.names['id']} {subject}; it must have one.")
        return findings

    def of_subject(self, rows: pd.DataFrame) -> tuple[Design, pd.DataFrame]:
        """The design of one subject and its measurements."""
        time, amount = self.names["time"], self.names["amount"]
        dosed, measured = rows[self.doses[rows.index]], rows[self.measured[rows.index]]
        count = self.column("ADDL")[dosed.index].to_numpy(int) + 1
        number = np.concatenate([np.zeros(0), *(np.arange(each) for each in count)])
        interval = self.column("II")[dosed.index].to_numpy()
        when = np.repeat(dosed[time].to_numpy(), count) + number * np.repeat(interval, count)
        inputs: dict[str, np.ndarray | float] = {name: float(rows[name].dropna().iloc[0]) for name in self.covariates}
        if amount in self.frame:
            inputs |= {"dose_times": when, "dose_amounts": np.repeat(dosed[amount].to_numpy(), count)}
        # in the order of the records: what stands behind a dose at its time sees it
        times = rows[time].to_numpy()
        behind = [line for line in measured.index
                  if any(dosed.index[dosed[time] == rows.loc[line, time]] < line)]  # fmt: skip
        seen = measured[time].to_numpy() + AFTER * (np.ptp(times) or 1.0) * np.isin(measured.index, behind)
        outputs: pd.Series | str | Mapping = self.output
        if isinstance(self.output, Mapping):
            named = {_label(each): name for each, name in self.output.items()}
            outputs = measured["DVID"].map(lambda each: named[_label(each)])
        data = measured.assign(output=outputs, time=seen, value=measured[self.names["value"]])
        if "CENS" in self.frame:
            data = data.assign(censored=self.column("CENS")[data.index])
        return Design(inputs=inputs, start=float(min(0.0, times.min()))), data


def _label(value) -> str:
    """A value of DVID as text: 1, 1.0 and "1" are one."""
    return f"{value:g}" if isinstance(value, int | float | np.number) else str(value).strip()


def _lines(index) -> str:
    """Records by number, the first one 1."""
    numbers = [int(each) + 1 for each in index]
    shown = ", ".join(map(str, numbers[:5])) + (", ..." if len(numbers) > 5 else "")
    return f"record {shown}" if len(numbers) == 1 else f"records {shown}"
