"""What README says of foreign codes runs, and does what it says."""

import re
from pathlib import Path

import numpy as np

import uqbench as uq

from .foreign_server import foreign_server

README = Path(__file__).parents[2] / "README.md"


def test_the_examples_of_foreign_codes_run():
    section = README.read_text().split("## Foreign codes")[1].split("\n## ")[0]
    names = {"uq": uq}
    with foreign_server() as running:
        for block in re.findall(r"```python\n(.*?)```", section, re.DOTALL):
            exec(compile(block.replace("http://127.0.0.1:4242", running.url), "README", "exec"), names)
        np.testing.assert_allclose(names["run"].outputs["C"], 2.0 * np.exp([-0.5, -2.0]), rtol=1e-14)
        assert float(names["run"].outputs["area"]) == 4.0 and names["model"].gradient == "exact"
        rate = names["clearance"](0.0, {"B": 3.0}, {"k": 0.5}, {})
    assert float(rate["B"]) == -1.5
