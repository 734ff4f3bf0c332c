"""Counts in categories, of which together there are as many as were counted: cells by type, reads by allele.

A multinomial distribution is a sequence of binomial ones: of all counted, so many are of the first category; of those
that are left, so many of the second; the last one is what remains. Each is a measurement of one output, with a known
number of trials, and the product of their probabilities is exactly the multinomial one.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from .distributions import Binomial, Distribution
from .errors import InputError, nearest
from .measurements import rows_of

# The column with the number of those that are in none of the categories before.
REMAINING = "remaining"
NEEDED = ("output", "value")


class MultinomialCounts(NamedTuple):
    """A table of counts in categories as measurements of single outputs, see `multinomial`.

    Args:
        data: the table, for a `Study`. noise, columns: for its `Model`.
    """

    data: pd.DataFrame
    noise: dict[str, Distribution]
    columns: dict[str, str]


def multinomial(data: pd.DataFrame, categories: Sequence[str]) -> MultinomialCounts:
    """Counts in categories, multinomial given the model, as binomial measurements of all categories but the last.

    Outputs of these names are taken in proportion to one another: probabilities, or amounts of any unit, the same for
    all. Rows of other outputs stay as they are.

    Args:
        data: the long table of a study, `value` being counts. Rows that agree in all other columns (experiment, time,
            unit, `replicate`) are one sample, which has a count of each category.
        categories: names of the outputs, in any order.

    Returns:
        the table, without the last category and without those of which nothing was left, with the column `remaining`;
        noise of the outputs and that column, for the model. What is simulated of a category, as its probability of
        less than was counted, is given the counts of those before it as they were observed.

    Raises:
        InputError: with everything that is wrong: samples without a category or with two counts of one, counts that
            are no whole numbers.

    Example:
        >>> import pandas as pd
        >>> rows = [("e", "stem", 1.0, 3), ("e", "mature", 1.0, 7)]
        >>> counts = multinomial(
        ...     pd.DataFrame(rows, columns=["experiment", "output", "time", "value"]), ["stem", "mature"]
        ... )
        >>> counts.noise
        {'stem': Binomial(n='remaining', p='stem/(stem + mature)')}
        >>> counts.data["remaining"].tolist()
        [10.0]
    """
    categories = [*categories]
    findings = _findings(data, categories)
    if findings:
        raise InputError("multinomial", findings)
    own = data["output"].isin(categories)
    table = data[own].assign(value=data.loc[own, "value"].astype(float))
    order = table["output"].map({name: place for place, name in enumerate(categories)})
    samples = _samples(table)
    # of all in a sample, those that are not of a category before
    later = table.assign(_order=order).sort_values("_order", ascending=False, kind="stable")
    left = later.groupby(samples.reindex(later.index))["value"].cumsum().reindex(table.index)
    kept = (order < len(categories) - 1) & (left > 0)
    found = data.assign(**{REMAINING: left}).drop(index=table.index[~kept])
    noise: dict[str, Distribution] = {
        name: Binomial(REMAINING, f"{name}/({' + '.join(categories[place:])})")
        for place, name in enumerate(categories[:-1])
    }
    return MultinomialCounts(found, noise, {REMAINING: ""})


def _samples(table: pd.DataFrame) -> pd.Series:
    """The number of the sample that each row belongs to."""
    others = [column for column in table if column not in NEEDED]
    return table.groupby(others, sort=False, dropna=False).ngroup()


def _findings(data: pd.DataFrame, categories: Sequence[str]) -> list[str]:
    findings = [
        f"the table has no column {name!r}; {nearest(name, [*map(str, data)])}" for name in NEEDED if name not in data
    ]
    if REMAINING in data:
        findings.append(f"the table has a column {REMAINING!r} already, which is to be made; rename it.")
    if len(categories) < 2 or len(set(categories)) < len(categories):
        findings.append(f"the categories are {list(categories)}; give two or more names, none twice.")
    findings += [
        f"the category {name!r} is no name for a formula, of letters, digits and underscores; rename the output."
        for name in categories
        if not str(name).isidentifier()
    ]
    if not data.index.is_unique:
        findings.append("rows of the table have no index of their own; give `data.reset_index(drop=True)`.")
    if findings:
        return findings
    table = data[data["output"].isin(categories)]
    absent = [name for name in categories if name not in set(table["output"])]
    findings += [f"the table has no rows of {name!r}; {nearest(name, [*data['output'].unique()])}" for name in absent]
    value = pd.to_numeric(table["value"], errors="coerce")
    if any(wrong := ~(np.isfinite(value) & (value >= 0) & (value == np.floor(value)))):
        findings.append(f"{rows_of(wrong)}: {table.loc[wrong, 'value'].iloc[0]} is no count; give whole numbers.")
    others = [column for column in table if column not in NEEDED]
    if any(twice := table.duplicated([*others, "output"], keep=False)):
        findings.append(
            f"{rows_of(twice)}: several counts of one category in one sample; tell samples apart by a column, such as "
            "`replicate`."
        )
    counted = table.groupby(_samples(table))["output"].transform("nunique")
    if not absent and any(lacking := counted < len(categories)):
        findings.append(
            f"{rows_of(lacking)}: samples without a count of each category; give zeros, and write what belongs to all "
            "of a sample in each of its rows."
        )
    return findings
