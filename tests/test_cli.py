"""The command line as a user meets it: in its own process."""

import subprocess
import sys
from pathlib import Path

import pytest

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
def test_a_mistake_is_a_message_and_status_2(tmp_path, arguments, expected):
    out = uqbench(*arguments, *(["--results", tmp_path] if arguments[0] != "rum" else []))
    assert out.returncode == 2
    assert expected in out.stderr + out.stdout
    assert "Traceback" not in out.stderr
    assert not list(tmp_path.iterdir())


def test_a_broken_table_leaves_existing_results_untouched(tmp_path):
    (tmp_path / "broken.py").write_text(
        "import pandas as pd\nfrom forward_models.theophylline import model\nfrom uqbench import Design, Study\n"
        "data = pd.DataFrame({'experiment': ['x', 'y'], 'output': ['concentration', 'conc'],\n"
        "                     'time': [-1, 'b'], 'value': [None, 1]})\n"
        "study = Study('theophylline', model, {'x': Design(inputs={'dose': 1.0})}, data, unit='subject')\n"
    )
    kept = tmp_path / "theophylline.zarr"
    kept.mkdir()
    (kept / "marker").write_text("old")
    out = uqbench("run", tmp_path / "broken.py", "--results", tmp_path)
    assert out.returncode == 2 and "Traceback" not in out.stderr
    for part in (
        "no column 'subject'",
        "unknown experiment 'y'",
        "unknown output with noise 'conc'",
        "'b' is not a number",
        "value is missing",
        "before the start",
    ):
        assert part in out.stderr
    assert (kept / "marker").read_text() == "old"


def test_verbs_store_and_add_to_results(tmp_path):
    first = uqbench("identify", "secretion", "--results", tmp_path)
    assert first.returncode == 0, first.stderr
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


def test_a_missing_capability_is_a_sentence_and_status_2(tmp_path):
    (tmp_path / "noisy.py").write_text(STOCHASTIC)
    out = uqbench("calibrate", tmp_path / "noisy.py", "--results", tmp_path)
    assert out.returncode == 2 and "Traceback" not in out.stderr
    assert "a simulator without a system has no density of its outputs; give a deterministic form" in out.stderr


def test_the_verb_run_and_the_command_line_sample_as_long():
    import inspect

    import uqbench as uq
    from uqbench import cli

    defaults = [
        {name: inspect.signature(verb).parameters[name].default for name in ("draws", "tune")}
        for verb in (uq.calibrate, uq.run, cli.calibrate, cli.run)
    ]
    assert all(each == defaults[0] for each in defaults)
