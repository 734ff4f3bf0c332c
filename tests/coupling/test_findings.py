"""Everything that is wrong with a coupled model, at once and in sentences."""

import jax.numpy as jnp
import pytest

import uqbench as uq
from uqbench.coupling import Aitken, Anderson, Monolithic, Splitting, Strong, Weak

from .cell_and_tissue import cell, exchange, metabolism, parts, space, tissue


def findings(make, *args, **settings):
    with pytest.raises(uq.InputError) as error:
        make(*args, **settings)
    return "\n".join(error.value.findings)


def run_findings(given: dict, exchanges: dict, units=None):
    model = uq.Model(space, uq.Coupled(given, exchanges, Weak(0.1), "h"), units=units or {"A": ""}, time_unit="h")
    return findings(uq.evaluate, model, space.nominal(), uq.Design([1.0]))


def test_settings_of_schedules_and_parts():
    assert "step is 0" in findings(Weak, 0.0)
    assert "step is -1" in findings(Monolithic, -1.0, integrator="euler")
    assert "known are explicit_euler" in findings(Monolithic, -1.0, integrator="euler")
    assert findings(Strong, 0.1, max_iterations=0, nodes=0, tolerance=0.0).count("\n") == 2
    assert "acceleration is 3" in findings(Strong, 0.1, 3)
    assert "order is 3" in findings(Splitting, 0.1, order=3)
    assert "depth is 0" in findings(Anderson, depth=0)
    assert "first is -1" in findings(Aitken, first=-1.0)
    found = findings(uq.Part, cell, metabolism, integrator="euler", step=-0.1, units={"drug": "nmol"})
    assert found.count("\n") == 2 and "step is -0.1" in found and "`content`" in found


def test_exchanges_name_what_exists():
    wrong = {
        "nowhere": exchange(target="organ.u"),
        "otherwise": uq.Exchange("oxygen", "nmol/h", "cell.A", "tissue.u", metabolism),
        "faster": exchange(unit="nmol/min"),
        "heavier": exchange(unit="kg/h"),
        "energy": exchange(kind="energy"),
    }
    found = findings(uq.Coupled, parts(), wrong, Weak(0.1), "h")
    assert "enters the part 'organ', which does not exist" in found
    assert found.count("has no content of 'oxygen'") == 2
    assert found.count("60 times as much") == 2
    assert found.count("of another dimension") == 2
    assert "not that of energy by time" in found
    bare = {"cell": parts()["cell"], "tissue": uq.Part(tissue, metabolism)}
    assert "has no `content`" in findings(uq.Coupled, bare, {"uptake": exchange()}, Weak(0.1), "h")


def test_contents_that_nobody_receives():
    found = findings(uq.Coupled, parts(), {}, Weak(0.1), "h")
    assert found.count("no exchange reaches it") == 2
    assert "give one of" in findings(uq.Coupled, parts(), {"uptake": exchange()}, "weak")


def test_exchanges_that_cannot_be_read():
    found = findings(uq.Exchange, "drug", "nmol/h", "A", "cell.", metabolism, kind="mass")
    assert found.count("write 'part.state'") == 2 and "known are amount" in found
    assert "enters it again" in findings(exchange, source="cell.A", target="cell.B")


def named_twice(p, inputs):
    return {"A": jnp.zeros(5)}


def one_more(t, y, p, inputs):
    return {"u": jnp.zeros(5), "v": 0.0}


def not_linear(y, p):
    return {"drug": jnp.sum(y["u"] ** 2)}


def other(y, p):
    return {"drug": jnp.zeros(()), "oxygen": 1.0}


def test_functions_are_looked_at_before_a_run():
    given, uptake = parts(), {"uptake": exchange()}
    assert "'A' is in 2 parts" in run_findings(given | {"third": uq.Part(named_twice, metabolism)}, uptake)
    reading = given | {"third": uq.Part(tissue_of("w"), rates_of("w"), reads=("B", "w"))}
    found = run_findings(reading, uptake)
    assert "reads 'B', which no part has" in found and "reads its own state 'w'" in found
    assert "has no entry 7" in run_findings(given, {"uptake": exchange(target="tissue.u[7]")})
    assert "has no state 'v'" in run_findings(given, {"uptake": exchange(target="tissue.v")})
    assert "rate has the shape ()" in run_findings(given, {"uptake": exchange(target="tissue.u")})
    found = run_findings(parts(content=other) | {"third": uq.Part(tissue_of("w"), one_more)}, uptake)
    assert "has a rate for 'u', which is not its own" in found and "no rate for 'w'" in found
    assert "'oxygen', which has no unit" in found and "does not depend on 'u'" in found
    assert "not linear in the states" in run_findings(parts(content=not_linear), uptake)


def tissue_of(name):
    return lambda p, inputs: {name: jnp.zeros(5)}


def rates_of(name):
    return lambda t, y, p, inputs: {name: jnp.zeros(5)}


def test_times_that_windows_do_not_reach():
    system = uq.Coupled(parts(), {"uptake": exchange()}, Weak(0.1), "h")
    model = uq.Model(space, system, units={"A": ""}, time_unit="min")
    found = findings(uq.evaluate, model, space.nominal(), uq.Design([float("inf")]))
    assert "time inf" in found and "time is in 'min'" in found


def delayed(p, inputs):
    return 1.0


def test_an_ode_becomes_a_part_where_it_has_no_more_than_rates():
    assert uq.Part.from_ode(uq.Ode(cell, metabolism), step=0.5).steps(1.0) == 2
    assert "`delays`" in findings(uq.Part.from_ode, uq.Ode(cell, metabolism, delays={"B": uq.Delay("A", delayed)}))
