"""What is wrong with the parts of a system is told before anything is solved; what belongs to it changes its digest."""

import jax.numpy as jnp
import pytest

import uqbench as uq
from uqbench.model import digest

from .problems import model

DESIGN = uq.Design([1.0], inputs={"weight": 70.0})


def drug_initial(p, inputs):
    return {"drug": p["dose"]}


def drug_rhs(t, y, p, inputs):
    return {"drug": -p["k"] * y["drug"]}


def little(t, y, p, inputs):
    return y["drug"] - 0.1


def refill(t, y, p, inputs):
    return {"drug": 1.0}


def drug(outputs=("drug",), **settings):
    observe = settings.pop("observe", lambda y, p: {"drug": y["drug"]})
    return model(drug_initial, drug_rhs, {"dose": 1.0, "k": 1.0}, outputs, observe=observe, **settings)


def assert_refused(settings, *parts):
    with pytest.raises(uq.InputError) as error:
        uq.evaluate(drug(**settings), {"dose": 1.0, "k": 1.0}, DESIGN)
    for part in parts:
        assert part in str(error.value), str(error.value)


WRONG = {
    "a tolerance": ({"atol": {"drog": 1e-9}}, "`atol` names the state 'drog'", "did you mean 'drug'"),
    "a root": ({"events": (uq.Event(lambda t, y, p, inputs: jnp.zeros(2)),)}, "`root` has shape (2,)"),
    "a root by name": ({"events": (uq.Event(refill),)}, "`root` is no number"),
    "a change": ({"events": (uq.Event(little, lambda t, y, p, inputs: {"drog": 1.0}),)}, "'drog'", "mean 'drug'"),
    "a change without names": ({"events": (uq.Event(little, little),)}, "`change` returns no dict"),
    "a change of shape": (
        {"events": (uq.Event(little), uq.Event(little, lambda t, y, p, inputs: {"drug": jnp.ones(3)}))},
        "`change` of event 1: state 'drug' has shape (3,)",
    ),
    "a name in a root": ({"events": (uq.Event(lambda t, y, p, inputs: y["drog"]),)}, "reads 'drog'"),
    "a name in a change": ({"events": (uq.Event(little, lambda t, y, p, inputs: {"drug": p["kk"]}),)}, "reads 'kk'"),
    "a start": ({"start": lambda p, inputs: jnp.ones(2)}, "`start` has shape (2,)"),
    "a name in a start": ({"start": lambda p, inputs: inputs["weigth"]}, "reads 'weigth'", "did you mean 'weight'"),
    "a name in doses": ({"doses": lambda p, inputs: {"drug": (inputs["when"], 1.0)}}, "reads 'when'"),
    "an observe": ({"observe": lambda y, p, time, inputs: y}, "asks for 'time'", "t and inputs"),
    "several": (
        {"atol": {"drog": 1e-9}, "start": lambda p, inputs: jnp.ones(2), "observe": lambda y, p, time: y},
        "'drog'", "`start` has shape", "asks for 'time'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_wrong_parts_of_a_system_are_named(case):
    assert_refused(*WRONG[case])


def test_an_observe_with_a_default_of_its_own_is_fine():
    run = uq.evaluate(
        drug(observe=lambda y, p, scale=2.0: {"drug": scale * y["drug"]}), {"dose": 1.0, "k": 1.0}, DESIGN
    )
    assert int(run.result) == 0


def at_one(p, inputs):
    return jnp.array([1.0])


def at_two(p, inputs):
    return jnp.array([2.0])


def start_at_one(p, inputs):
    return 1.0


def dose_at(when, much=1.0):
    return lambda p, inputs: {"drug": (jnp.array([when]), jnp.array([much]))}


def other_root(t, y, p, inputs):
    return y["drug"] - 0.2


def sum_of(t, y, p, inputs):
    return {"twice": 2 * y["drug"]}


def other_history(t, p, inputs):
    return 3.0 * t


DIFFERENT = [
    {},
    {"max_step": 0.1},
    {"max_step": 0.2},
    {"atol": 1e-9},
    {"atol": {"drug": 1e-9}},
    {"atol": {"drug": 1e-8}},
    {"switches": at_one},
    {"switches": at_two},
    {"start": start_at_one},
    {"doses": dose_at(1.0)},
    {"doses": dose_at(1.0, 2.0)},
    {"algebraic": sum_of},
    {"delays": {"late": uq.Delay("drug", 1.0)}},
    {"delays": {"late": uq.Delay("drug", 2.0)}},
    {"delays": {"early": uq.Delay("drug", 2.0)}},
    {"delays": {"late": uq.Delay("drug", 2.0, other_history)}},
    {"events": (uq.Event(little),)},
    {"events": (uq.Event(other_root),)},
    {"events": (uq.Event(little, direction="rising"),)},
    {"events": (uq.Event(little, refill),)},
    {"events": (uq.Event(little, refill), uq.Event(little))},
    {"events": (uq.Event(little), uq.Event(little, refill))},
]


def test_the_digest_tells_all_parts_of_a_system_apart():
    digests = [digest(drug(**settings), DESIGN) for settings in DIFFERENT]
    assert len(set(digests)) == len(digests)
    assert digests == [digest(drug(**settings), DESIGN) for settings in DIFFERENT]


def test_the_digest_does_not_depend_on_the_order_of_tolerances():
    def two(p, inputs):
        return {"a": 1.0, "b": 1.0}

    def still(t, y, p, inputs):
        return {"a": -y["a"], "b": -y["b"]}

    orders = [{"a": 1e-9, "b": 1e-8}, {"b": 1e-8, "a": 1e-9}]
    assert len({digest(model(two, still, {"k": 1.0}, ("a", "b"), atol=atol), DESIGN) for atol in orders}) == 1
