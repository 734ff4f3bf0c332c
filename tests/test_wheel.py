"""The library as others install it: a wheel, beside a working folder that has studies and models of its own."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MINE = """
import uqbench as uq
from forward_models.decay import model
study = uq.Study("mine", model, {"e": uq.Design([1.0])})
"""
DECAY = """
import uqbench as uq

def initial(p, inputs):
    return {"C": 1.0}

def rhs(t, y, p, inputs):
    return {"C": -p["k"] * y["C"]}

def observe(y, p):
    return {"C": y["C"]}

space = uq.Space(k=uq.epistemic(uq.LogNormal(median=0.5, sigma=0.5), "1/h"))
model = uq.Model(space, uq.Ode(initial, rhs), observe, units={"C": "mg/L"})
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The place of an unpacked wheel."""
    if not (uv := shutil.which("uv")):
        pytest.skip("uv, which builds the wheel, is not on the path")
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([uv, "build", "--quiet", "--wheel", "--out-dir", folder, ROOT], check=True)
    (wheel,) = folder.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(folder / "site-packages")
    return folder / "site-packages"


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A working folder with a study `mine`, one named as a shipped study is, and a package `forward_models`."""
    folder = tmp_path_factory.mktemp("work")
    for place, text in (
        ("studies/mine.py", MINE),
        ("studies/theophylline.py", MINE),
        ("forward_models/__init__.py", ""),
        ("forward_models/decay.py", DECAY),
    ):
        (folder / place).parent.mkdir(exist_ok=True)
        (folder / place).write_text(text)
    return folder


def run(installed, work, code, *arguments):
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=work, env=os.environ | {"PYTHONPATH": str(installed)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.slow
def test_the_command_lists_shipped_and_own_studies(installed, work):
    listed = run(installed, work, "from uqbench.cli import main; main()", "studies")
    assert {"mine", "theophylline", "studies/theophylline.py", "puromycin"} <= set(listed)
    assert listed == sorted(listed)


def test_shipped_and_own_studies_load_beside_each_other(installed, work):
    """And what they hold is found by another process."""
    code = (
        "import pickle, sys, uqbench as uq\n"
        "study, own, other = map(uq.load_study, ('theophylline', 'mine', 'studies/theophylline.py'))\n"
        "for each in (study, own, other):\n"
        "    print(each.name, *each.model.outputs, len(each.table))\n"
        "pickle.dump((study.quantities['AUC'].function, study.model, own.model), open(sys.argv[1], 'wb'))\n"
        "print(uq.__file__)"
    )
    *loaded, place = run(installed, work, code, work / "functions")
    assert loaded == ["theophylline", "concentration", "132", "mine", "C", "0", "mine", "C", "0"]
    assert Path(place).is_relative_to(installed)
    load = (
        "import pickle, sys\n"
        "function, model, own = pickle.load(open(sys.argv[1], 'rb'))\n"
        "print(function.__name__, *model.outputs, *own.outputs)"
    )
    assert run(installed, work, load, work / "functions") == ["exposure", "concentration", "C"]
