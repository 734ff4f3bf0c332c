"""The examples in docstrings say what happens."""

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in sorted((ROOT / "uqbench").rglob("*.py"))
    if ">>>" in path.read_text()
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_hold(name):
    module = importlib.import_module(name.removesuffix(".__init__"))
    # jitted and cached functions are found by name, since doctest passes over what is no plain function
    tests = doctest.DocTestFinder().find(module, globs=vars(module).copy())
    known = {test.name for test in tests}
    for attribute, value in vars(module).items():
        if getattr(value, "__module__", "") == module.__name__ and f"{module.__name__}.{attribute}" not in known:
            tests += doctest.DocTestFinder().find(value, f"{module.__name__}.{attribute}", globs=vars(module).copy())
    tests = [test for test in tests if test.examples]
    assert tests
    assert [test.name for test in tests if doctest.DocTestRunner().run(test).failed] == []
