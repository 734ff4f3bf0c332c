"""Names are the modeller's own: what is called how changes nothing, and what cannot be stored is refused at once."""

from dataclasses import dataclass, fields

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import uqbench as uq
from uqbench.names import BAND, DRAWS
from uqbench.symbols import read


@dataclass(frozen=True)
class Names:
    """Decay of one substance to another in units whose rates differ, with every name a field."""

    rate: str = "k"
    median: str = "k_median"
    spread: str = "k_spread"
    scale: str = "s"
    noise: str = "tau"
    state: str = "x"
    product: str = "z"
    dose: str = "u"
    output: str = "y"
    experiment: str = "e"
    unit: str = "who"
    subject: str = "1"
    quantity: str = "q"

    def initial(self, p, inputs):
        return {self.state: inputs[self.dose], self.product: 0 * p[self.rate]}

    def rhs(self, t, y, p, inputs):
        rate = p[self.rate] * y[self.state]
        return {self.state: -rate, self.product: rate - y[self.product]}

    def observe(self, y, p):
        return {self.output: p[self.scale] * y[self.state]}

    def last(self, outputs, design):
        return outputs[self.output][-1]

    def model(self) -> uq.Model:
        space = uq.Space(
            {
                self.median: uq.epistemic(uq.LogNormal(median=0.5, sigma=0.3)),
                self.spread: uq.fixed(0.2),
                self.rate: uq.aleatory(uq.LogNormal(median=self.median, sigma=self.spread)),
                self.scale: uq.epistemic(uq.LogUniform(0.5, 2.0)),
                self.noise: uq.epistemic(uq.HalfNormal(1.0)),
            }
        )
        system = uq.Ode(self.initial, self.rhs)
        noise = {self.output: uq.Normal(self.output, self.noise)}
        return uq.Model(space, system, self.observe, {self.output: ""}, noise, name="names")

    def design(self) -> uq.Design:
        return uq.Design([0.5, 1.0], {self.dose: 2.0})

    def study(self) -> uq.Study:
        times = np.array([0.5, 1.0, 2.0])
        data = pd.DataFrame(
            {
                "experiment": self.experiment,
                "output": self.output,
                "time": np.tile(times, 2),
                "value": np.concatenate([2 * np.exp(-0.4 * times), 2 * np.exp(-0.6 * times)]),
                self.unit: np.repeat([self.subject, f"{self.subject} again"], 3),
            }
        )
        quantities = {self.quantity: uq.Quantity(self.last, self.design())}
        return uq.Study("names", self.model(), {self.experiment: self.design()}, data, quantities, unit=self.unit)

    def study_without_units(self) -> uq.Study:
        return uq.Study("names", self.model(), {self.experiment: self.design()})


SYMBOLS = ("rate", "median", "spread", "scale", "noise", "state", "product", "dose")
ODD = [
    *("A b", "2C", "lambda", "sigma", "median", "x'", "k-on", "α", "time", "value", "unit", "if", "_", "$k_1$", "%s"),
    *("sample", "parameter", "quantity", "mu", "key", "N", "E", "I", "row", "{x}", "a.b", "class"),
]


def names(allowed):
    """Distinct names, of which the output and the column of units may not be those of dimensions."""
    keys = [field.name for field in fields(Names)]
    taken = {*BAND, "output", "value", "row"}
    return (
        st.lists(allowed, min_size=len(keys), max_size=len(keys), unique=True)
        .map(lambda chosen: Names(**dict(zip(keys, chosen, strict=True))))
        .filter(lambda made: made.output not in taken and made.unit not in taken)
    )


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="/", exclude_categories=("Cc", "Cs", "Z")), min_size=1)
ALLOWED = st.sampled_from(ODD) | TEXT.filter(lambda name: name not in (*DRAWS, "t"))


@settings(max_examples=10)
@given(names(ALLOWED))
def test_numbers_and_equations_are_the_same_under_all_names(given):
    model, study = given.model(), given.study()
    values = {"rate": 0.7, "median": 0.5, "scale": 1.5, "noise": 0.1, "spread": 0.2}
    theta = {getattr(given, field): value for field, value in values.items()}
    run = uq.evaluate(model, theta, given.design())
    np.testing.assert_allclose(run.outputs[given.output], 3 * np.exp(-0.7 * np.array([0.5, 1.0])), rtol=1e-6)
    assert study.units == (given.subject, f"{given.subject} again")
    mine, exact = read(model, given.design()), read(Names().model(), Names().design())
    back = {mine.symbols[getattr(given, field)]: exact.symbols[getattr(Names(), field)] for field in SYMBOLS}
    assert mine.rhs[given.product].xreplace(back) == exact.rhs["z"]
    assert mine.observe[given.output].xreplace(back) == exact.observe["y"]


def test_names_that_cannot_be_stored_are_named_together():
    prior = uq.epistemic(uq.Normal(0.0, 1.0))
    with pytest.raises(uq.InputError) as caught:
        uq.Space({"chain": prior, "k/on": prior, " ": prior, "k": prior})
    assert [finding.split(",")[0] for finding in caught.value.findings] == ["'chain'", "'k/on'", "' '"]
    assert "write 'k_on'" in str(caught.value)
    space = uq.Space(k=prior)
    with pytest.raises(uq.InputError) as caught:
        uq.Model(space, uq.Ode(Names().initial, Names().rhs), None, dict.fromkeys(["run", "a/b", "y", "y_time"], ""))
    assert len(caught.value.findings) == 3
    assert "'y_time' is called like a coordinate of the output 'y'" in str(caught.value)


def test_the_experiments_are_units_where_nothing_else_is():
    with pytest.raises(uq.InputError, match="'experiment' is both a parameter and the column of units"):
        Names(rate="experiment").study_without_units()
    # a parameter that does not differ between units stands beside none of them
    assert "experiment" in Names(rate="experiment", unit="who").study().model.space


def test_labels_that_differ_only_in_their_type_are_refused():
    given = Names()
    data = given.study().data.assign(who=pd.Series([1, 1, 1, "1", "1", "1"], dtype=object))
    with pytest.raises(uq.InputError, match="the units 1, '1' have one text"):
        uq.Study("names", given.model(), {"e": given.design()}, data, unit="who")
    with pytest.raises(uq.InputError, match="the names of experiments 1, '1' have one text"):
        uq.Study("names", given.model(), {1: given.design(), "1": given.design()})
    with pytest.raises(uq.InputError, match="' ', among the names of quantities, is empty"):
        uq.Study("names", given.model(), {"e": given.design()}, None, {" ": given.last})


@pytest.mark.parametrize(
    "changed, expected",
    [
        ({"unit": "k"}, "'k' is both a parameter and the column of units"),
        ({"rate": "epistemic"}, "'epistemic', the name of a parameter, is that of the posterior"),
        ({"unit": "draw"}, "'draw', the name of the column of units, is that of a dimension"),
        ({"state": "t"}, "'t' is the time and a state; rename one of them"),
        ({"noise": "t"}, "'t' is the time and a parameter; rename one of them"),
        ({"dose": "k", "state": "s"}, "'k' is a parameter and an input; rename one of them"),
    ],
)
def test_a_study_refuses_two_things_of_one_name(changed, expected):
    with pytest.raises(uq.InputError, match=expected):
        Names(**changed).study()
