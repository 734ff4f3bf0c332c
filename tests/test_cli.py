"""The command line as a user meets it, in its own process where a process matters."""

import subprocess
import sys
from pathlib import Path
from unittest.mock import ANY

import pytest

import uqbench as uq

ROOT = Path(__file__).parents[1]


def uqbench(*arguments, cwd=ROOT):
    code = "from uqbench.cli import main; import sys; sys.argv[0] = 'uqbench'; main()"
    return subprocess.run([sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, cwd=cwd)


def test_help_names_every_verb():
    out = uqbench("--help")
    assert out.returncode == 0
    for verb in ("identify", "calibrate", "decompose", "report", "run", "check"):
        assert verb in out.stdout


@pytest.mark.parametrize(
    "arguments, expected",
    [
        (["run", "theofyline"], "did you mean 'theophylline'"),
        (["rum", "theophylline"], "Did you mean"),
        (["run", "theophylline", "--draws", "many"], "draws"),
        (["run", "nowhere.py"], "no such file"),
        (["calibrate", "secretion"], "no data"),
        (["report", "secretion"], "no result store"),
    ],
)
def test_a_mistake_is_a_message_and_status_2(tmp_path, stopped, arguments, expected):
    code, said = stopped(*arguments, *(["--results", tmp_path] if arguments[0] != "rum" else []))
    assert code == 2 and expected in said and "Traceback" not in said
    assert not list(tmp_path.iterdir())


def test_a_broken_table_leaves_existing_results_untouched(tmp_path, stopped):
    (tmp_path / "broken.py").write_text(
        "import pandas as pd\nfrom forward_models.theophylline import model\nfrom uqbench import Design, Study\n"
        "data = pd.DataFrame({'experiment': ['x', 'y'], 'output': ['concentration', 'conc'],\n"
        "                     'time': [-1, 'b'], 'value': [None, 1]})\n"
        "study = Study('theophylline', model, {'x': Design(inputs={'dose': 1.0})}, data, unit='subject')\n"
    )
    kept = tmp_path / "theophylline.zarr"
    kept.mkdir()
    (kept / "marker").write_text("old")
    code, said = stopped("run", tmp_path / "broken.py", "--results", tmp_path)
    assert code == 2 and "Traceback" not in said
    for part in (
        "no column 'subject'",
        "unknown experiment 'y'",
        "unknown output with noise 'conc'",
        "'b' is not a number",
        "value is missing",
        "before the start",
    ):
        assert part in said
    assert (kept / "marker").read_text() == "old"


def test_verbs_store_and_add_to_results(tmp_path):
    from uqbench import cli

    cli.identify("secretion", results=tmp_path)
    second = uqbench("decompose", "secretion", "--results", tmp_path, "--n", 64, "--runs", 512)
    assert second.returncode == 0, second.stderr
    import uqbench as uq

    assert {"structure", "variance", "sobol"} <= set(uq.load(tmp_path / "secretion.zarr").children)
    # piped output has lines, not a bar
    assert "decompose: 3/3" in second.stderr and "\x1b[" not in second.stderr


STOCHASTIC = """
import jax
import pandas as pd
import uqbench as uq

def noisy(theta, design, key):
    return {"y": theta["m"] + jax.random.normal(key, design.times.shape)}

model = uq.Model.from_function(
    uq.Space(m=uq.epistemic(uq.Normal(0.0, 1.0))), noisy, {"y": ""}, {"y": uq.Normal("y", 0.1)}, stochastic=True
)
data = pd.DataFrame({"experiment": "e", "output": "y", "time": [1.0, 2.0], "value": [0.1, 0.3]})
study = uq.Study("noisy", model, {"e": uq.Design()}, data)
"""


def test_a_missing_capability_is_a_sentence_and_status_2(tmp_path, stopped):
    (tmp_path / "noisy.py").write_text(STOCHASTIC)
    code, said = stopped("calibrate", tmp_path / "noisy.py", "--results", tmp_path)
    assert code == 2 and "Traceback" not in said
    assert "a simulator without a system has no density of its outputs; give a deterministic form" in said


def test_the_verb_run_and_the_command_line_sample_as_long():
    import inspect

    import uqbench as uq
    from uqbench import cli

    defaults = [
        {
            name: inspect.signature(verb).parameters[name].default
            for name in ("draws", "tune", "chains", "target_accept")
        }
        for verb in (uq.calibrate, uq.run, cli.calibrate, cli.run)
    ]
    assert all(each == defaults[0] for each in defaults)


LEVEL = """
import uqbench as uq

def level(theta, design, key):
    return {"y": theta["m"] + 0 * design.times}

space = uq.Space(m=uq.epistemic(uq.Normal(0.0, 2.0)))
model = uq.Model.from_function(space, level, {"y": ""}, {"y": uq.Normal("y", 0.5)}, name="level")
first = uq.Study("level", model, {"e": uq.Design()}, "level.csv")
"""


# as small as the verbs take them
SETTINGS = {"draws": 20, "tune": 20, "chains": 3, "target_accept": 0.9, "n": 16, "runs": 256}


def test_results_of_other_data_are_not_reported_and_not_thrown_away(tmp_path, capsys):
    """`run` starts again where the data have changed, and keeps what was there."""
    import uqbench as uq
    from uqbench import cli
    from uqbench.results import attribute

    (tmp_path / "level.py").write_text(LEVEL)
    data, place = tmp_path / "level.csv", tmp_path / "level.zarr"
    data.write_text("experiment,output,time,value\ne,y,1,1.5\n")
    study = f"{tmp_path / 'level.py'}:first"
    cli.identify(study, results=tmp_path)
    cli.report(study, results=tmp_path)
    page = (tmp_path / "level.html").read_text()
    before = uq.load(place)
    data.write_text("experiment,output,time,value\ne,y,1,2.5\n")
    for verb in (cli.report, cli.identify, cli.calibrate, cli.decompose):
        with pytest.raises(uq.InputError, match="the tree's data is") as caught:
            verb(study, results=tmp_path)
        assert f"`uqbench run {study} --results {tmp_path}`" in str(caught.value)
    assert (tmp_path / "level.html").read_text() == page
    cli.run(study, **SETTINGS, results=tmp_path)
    again = uq.load(place)
    assert again.attrs["data_digest"] != before.attrs["data_digest"]
    assert again["posterior"].sizes["chain"] == 3
    assert attribute(again, "posterior", "settings")["target_accept"] == 0.9
    assert uq.load(tmp_path / "level.previous.zarr").attrs == before.attrs
    assert "level.previous.zarr" in capsys.readouterr().out
    assert {path.name for path in tmp_path.glob("*.zarr")} == {"level.previous.zarr", "level.zarr"}


@pytest.mark.slow
def test_what_is_the_users_own_stays_where_all_verbs_run_again(tmp_path):
    from uqbench import cli

    (tmp_path / "level.py").write_text(LEVEL)
    (tmp_path / "level.csv").write_text("experiment,output,time,value\ne,y,1,1.5\n")
    study, place = f"{tmp_path / 'level.py'}:first", tmp_path / "level.zarr"
    cli.run(study, **SETTINGS, results=tmp_path)
    tree = uq.load(place)
    tree["mine"] = tree["posterior"].copy()
    uq.save(tree, place)
    cli.run(study, **SETTINGS, seed=1, results=tmp_path)
    last = uq.load(place)
    assert "mine" in last.children and last["posterior"].attrs["seed"] == 1


BROKEN = """
import uqbench as uq
from tests.coupling.cell_and_tissue import exchange, parts, space
from uqbench.coupling import Weak

given = parts() | {"third": parts()["tissue"]}
system = uq.Coupled(given, {"uptake": exchange(unit="nmol/min")}, Weak(0.1), "h")
"""


APART = """
from uqbench.interfaces import MortarInterface, Rectangle

MortarInterface(Rectangle((0.0, 100.0), (0.0, 200.0), (8, 16), "um"), Rectangle({}, {}, (10, 11), {!r}))
"""


@pytest.mark.parametrize(
    "x, y, unit, expected",
    [
        ((120.0, 300.0), (0.0, 200.0), "um", ["do not touch: there is a gap of 20"]),
        ((80.0, 300.0), (50.0, 250.0), "mm", ["overlap by 20", "from 50 to 250", "in 'um' and in 'mm'"]),
        ((-50.0, 0.0), (0.0, 200.0), "um", ["give them in the other order"]),
        ((100.0, 300.0), (0.0, 150.0), "um", ["from 0 to 200 and the other from 0 to 150"]),
    ],
)
def test_sides_that_do_not_meet_name_everything_and_end_with_2(tmp_path, stopped, x, y, unit, expected):
    path = tmp_path / "apart.py"
    path.write_text(APART.format(x, y, unit))
    status, said = stopped("check", path)
    assert status == 2 and "Traceback" not in said
    assert said.count("\n  - ") == len(expected) and all(part in said for part in expected)


COLONY = """
import numpy as np
import uqbench as uq
from uqbench.agents import SENTENCES, divided, ending, placed

BOX, START = (2.0,), np.array({start})

def simulate(theta, design, key):
    agents = placed({places}, {capacity}, BOX)
    agents = divided(agents, key, 1.0)
    return {{"living": agents.living + 0.0 * design.times}}, ending(agents, BOX)

space = uq.Space(shift=uq.epistemic(uq.Uniform(1.0, 1.5), "mm"))
model = uq.Model.from_function(
    space, simulate, {{"living": ""}}, stochastic=True, gradient="none", results=SENTENCES
)
study = uq.Study("colony", model, {{"e": uq.Design([1.0])}})
"""


@pytest.mark.parametrize(
    "start, places, capacity, expected",
    [
        ([[0.1], [3.0], [-1.0]], "START", 2, ["2 of 3 agents are outside", "3 agents are more than the capacity of 2"]),
        ([[0.1], [1.9]], "START + theta['shift']", 8, ["agents were outside of the box"]),
        ([[0.1], [1.9]], "START", 3, ["more agents than slots"]),
    ],
)
def test_agents_outside_or_too_many_end_with_2(tmp_path, stopped, start, places, capacity, expected):
    path = tmp_path / "colony.py"
    path.write_text(COLONY.format(start=start, places=places, capacity=capacity))
    status, said = stopped("check", path)
    assert status == 2 and "Traceback" not in said
    assert all(part in said for part in expected)


DIVERGING = """
import pandas as pd
import uqbench as uq
from forward_models.coupling_schedules import observe, pair, schedules, space

model = uq.Model(
    space, pair(schedules["concurrent"]), observe, {"x": "", "y": ""}, {"x": uq.Normal("x", 0.1)}, time_unit="h"
)
data = pd.DataFrame({"experiment": "e", "output": "x", "time": [5.0, 50.0], "value": 0.0})
study = uq.Study("diverging", model, {"e": uq.Design()}, data)
"""


def test_a_schedule_that_makes_garbage_ends_with_2_and_another(tmp_path, stopped):
    path = tmp_path / "diverging.py"
    path.write_text(DIVERGING)
    status, said = stopped("identify", path, "--results", tmp_path)
    assert status == 2 and "Traceback" not in said and said.count("\n  - ") == 1
    assert "errors by 2.033 in each window" in said and "'weak, sequential' is stable" in said
    assert [each.name for each in tmp_path.iterdir() if each.suffix == ".zarr"] == []


def test_a_coupled_model_that_cannot_be_names_everything_and_ends_with_2(tmp_path, stopped):
    path = tmp_path / "broken.py"
    path.write_text(BROKEN)
    status, said = stopped("identify", path, "--results", tmp_path / "out")
    assert status == 2
    # both sides of the mismatched flux, and the part whose content nobody receives
    assert said.count("60 times as much") == 2
    assert "'third' counts 'drug' and no exchange reaches it" in said


def test_a_calibration_goes_on_with_finished_chains_only_if_asked_to(tmp_path, stopped, monkeypatch):
    """The folder beside the store is there until the results are stored."""
    (tmp_path / "level.py").write_text(LEVEL)
    (tmp_path / "level.csv").write_text("experiment,output,time,value\ne,y,1,1.5\n")
    kept = tmp_path / "level.zarr.chains"
    settings = [f"{tmp_path / 'level.py'}:first", "--draws", 4, "--tune", 10, "--chains", 2, "--results", tmp_path]

    def full(*arguments):
        raise uq.InputError("results", ["no space"])

    with monkeypatch.context() as patched:
        patched.setattr("uqbench.cli._save", full)
        assert stopped("calibrate", *settings) == (2, ANY)
    assert len(list(kept.glob("*.zarr"))) == 2
    code, said = stopped("calibrate", *settings, "--seed", 1, "--resume")
    assert code == 2 and "are of seed 0, not 1" in said
    code, said = stopped("calibrate", *settings, "--resume")
    assert code == 0 and "removed" not in said and not kept.exists()
    kept.mkdir()
    code, said = stopped("calibrate", *settings)
    assert code == 0 and "`--resume` would have gone on with them" in said and not kept.exists()


def test_simulated_tables_need_no_data_and_are_kept_until_they_are_stored(tmp_path, stopped, monkeypatch):
    without = LEVEL.replace('uq.Design()}, "level.csv"', "uq.Design([1.0, 2.0])}")
    (tmp_path / "level.py").write_text(without)
    settings = [f"{tmp_path / 'level.py'}:first", "--repetitions", 2, "--draws", 60, "--tune", 60, "--ranks", 3]
    settings += ["--results", tmp_path]
    kept = tmp_path / "level.zarr.tables"

    def full(*arguments):
        raise uq.InputError("results", ["no space"])

    with monkeypatch.context() as patched:
        patched.setattr("uqbench.cli._save", full)
        assert stopped("sbc", *settings) == (2, ANY)
    assert len(list(kept.glob("table_*.json"))) == 2
    code, said = stopped("sbc", *settings, "--resume")
    assert code == 0 and "in 2 simulated tables, which are too few to resolve it" in said and not kept.exists()
    assert stopped("sbc", "secretion", "--results", tmp_path)[1].count("no output has noise") == 1
