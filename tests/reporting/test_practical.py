"""The section on what the data tell: open ends, verdicts that are to be seen, what is said once for several."""

import numpy as np
import pandas as pd

from uqbench.reporting.practical import _explanations, ends, heading
from uqbench.reporting.tables import MISSING


def test_an_open_end_is_never_a_number():
    assert ends(np.nan, np.nan) == MISSING
    assert ends(np.nan, 2.0) == "below 2.00"
    assert ends(2.0, np.nan) == "above 2.00"
    assert ends(1.0, 2.0) == "1.00 to 2.00"


def test_the_heading_names_what_is_left():
    table = pd.DataFrame({"verdict": ["identifiable", "one-sided"]}, index=["k", "g"])
    assert heading(table) == "The data determine 1 of 2 parameters, not g"
    assert heading(table.iloc[:1]) == "The data determine every parameter"
    assert heading(table.iloc[1:]) == "The data determine none of the parameters"


def test_what_holds_for_several_is_said_once():
    table = pd.DataFrame({"explanation": ["Same.", "", "Same.", "Other."]}, index=["a", "b", "c", "d"])
    assert [each.text for each in _explanations(table)] == ["a and c: same.", "d: other."]
