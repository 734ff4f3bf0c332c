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


@pytest.fixture
def work(tmp_path):
    """A working folder with a study `mine`, one named as a shipped study is, and a package `forward_models`."""
    for place, text in (
        ("studies/mine.py", MINE),
        ("studies/theophylline.py", MINE),
        ("forward_models/__init__.py", ""),
        ("forward_models/decay.py", DECAY),
    ):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).write_text(text)
    return tmp_path


def run(installed, work, code, *arguments):
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=work, env=os.environ | {"PYTHONPATH": str(installed)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_the_command_lists_shipped_and_own_studies(installed, work):
    listed = run(installed, work, "from uqbench.cli import main; main()", "studies")
    assert {"mine", "theophylline", "studies/theophylline.py", "puromycin"} <= set(listed)
    assert listed == sorted(listed)


def test_shipped_and_own_studies_load_beside_each_other(installed, work):
    code = (
        "import uqbench as uq\n"
        "for name in ('theophylline', 'mine', 'studies/theophylline.py'):\n"
        "    study = uq.load_study(name)\n"
        "    print(study.name, *study.model.outputs, len(study.table))\n"
        "print(uq.__file__)"
    )
    *loaded, place = run(installed, work, code)
    assert loaded == ["theophylline", "concentration", "132", "mine", "C", "0", "mine", "C", "0"]
    assert Path(place).is_relative_to(installed)


def test_functions_of_studies_are_found_by_other_processes(installed, work):
    dump = (
        "import pickle, sys, uqbench as uq\n"
        "study, own = uq.load_study('theophylline'), uq.load_study('mine')\n"
        "pickle.dump((study.quantities['AUC'].function, study.model, own.model), open(sys.argv[1], 'wb'))"
    )
    run(installed, work, dump, work / "functions")
    load = (
        "import pickle, sys\n"
        "function, model, own = pickle.load(open(sys.argv[1], 'rb'))\n"
        "print(function.__name__, *model.outputs, *own.outputs)"
    )
    assert run(installed, work, load, work / "functions") == ["exposure", "concentration", "C"]
