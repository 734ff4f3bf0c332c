"""What README says of coupled models runs, and does what it says."""

import re
import sys
from pathlib import Path

import uqbench as uq
from uqbench.coupling import Relaxation, Strong, Weak

README = Path(__file__).parents[2] / "README.md"


def test_the_example_of_coupled_models_runs(capsys, monkeypatch):
    # two of the ten schedules that it compares, each of which is compiled
    some = {"weak, sequential": Weak(0.1), "strong, plain": Strong(0.1, Relaxation())}
    where = sys.modules["uqbench.coupling.coupled"]
    monkeypatch.setattr(where, "standard_schedules", lambda step, alone: some)
    section = README.read_text().split("## Coupled models")[1].split("\n## ")[0]
    names = {"uq": uq}
    for block in re.findall(r"```python\n(.*?)```", section, re.DOTALL):
        exec(compile(block, "README", "exec"), names)
    advice = capsys.readouterr().out
    # so little tissue fills in less than a window
    assert "weak, sequential: it multiplies errors" in advice and "recommended: strong, relaxed" in advice
    model, design = names["model"], uq.Design([5.0], inputs={"dose": 10.0})
    run = uq.evaluate(model, model.space.nominal(), design)
    assert int(run.result) == 0
    assert abs(float(run.outputs["residual_drug"][0])) < 1e-13
    assert 0.1 < float(run.outputs["T"][0]) < 10.0
