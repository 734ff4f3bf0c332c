"""The store on disk: whole whatever stops a process, written by one process at a time, and never shown as another's."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import uqbench as uq
from uqbench import results
from uqbench.calibration.chains import whole_draws
from uqbench.errors import Interrupted
from uqbench.results import Store

ROOT = Path(__file__).parents[1]


def tree(number):
    return xr.DataTree(xr.Dataset({"number": number}, attrs={"study": "decay"}))


def number(path):
    return int(uq.load(path)["number"])


@pytest.fixture
def place(tmp_path):
    return uq.save(tree(1), tmp_path / "decay.zarr")


def beside(place, what):
    return place.with_name(f".decay.zarr.{what}")


# Where a process can be killed while version 2 takes the place of version 1, and which version is there then.
MOMENTS = {
    "while the new version is written": (("decay.zarr", "new"), 1),
    "after the old version stepped aside": (("old", "new"), 2),
    "before the old version is removed": (("old", "decay.zarr"), 2),
}


@pytest.mark.parametrize("left, version", MOMENTS.values(), ids=MOMENTS)
def test_a_store_is_whole_whenever_its_process_is_killed(place, tmp_path, left, version):
    new = uq.save(tree(2), tmp_path / "elsewhere.zarr")
    old_name, new_name = (place if name == "decay.zarr" else beside(place, name) for name in left)
    place.rename(old_name)
    new.rename(new_name)
    if version == 1:
        # half of it
        (new_name / "zarr.json").unlink()
    assert number(place) == version
    with Store(place) as store:
        assert int(store.load()["number"]) == version
    assert [path.name for path in tmp_path.iterdir()] == ["decay.zarr"]


def test_what_was_half_written_first_is_no_store(tmp_path):
    place = tmp_path / "decay.zarr"
    beside(place, "new").mkdir()
    with pytest.raises(uq.InputError, match="no result store"):
        uq.load(place)
    with Store(place) as store:
        assert store.load() is None
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("step", [1, 2])
def test_an_error_in_between_leaves_one_whole_version(place, monkeypatch, step):
    renames = []
    rename = Path.rename

    def fails(self, target):
        renames.append(self)
        if len(renames) == step:
            raise OSError("no space")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fails)
    with pytest.raises(uq.InputError, match=r"'decay\.zarr' cannot be written: no space; what is stored is whole"):
        uq.save(tree(2), place)
    monkeypatch.undo()
    assert number(place) == step
    assert [path.name for path in place.parent.iterdir()] == ["decay.zarr"]


@pytest.mark.parametrize("which", [signal.SIGINT, signal.SIGTERM])
def test_signals_wait_until_a_store_is_written(place, monkeypatch, which):
    rename = Path.rename

    def signalled(self, target):
        os.kill(os.getpid(), which)
        return rename(self, target)

    def stop(number, frame):
        raise KeyboardInterrupt

    before = signal.signal(which, stop)
    monkeypatch.setattr(Path, "rename", signalled)
    try:
        with pytest.raises(KeyboardInterrupt):
            uq.save(tree(2), place)
    finally:
        signal.signal(which, before)
    monkeypatch.undo()
    assert number(place) == 2


def test_a_reader_gets_one_version_while_another_is_written(place):
    stop = threading.Event()

    def write():
        version = 2
        while not stop.is_set():
            uq.save(xr.DataTree(xr.Dataset({"number": version, "again": version})), place)
            version += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(20):
            loaded = uq.load(place)
            assert "again" not in loaded or int(loaded["again"]) == int(loaded["number"])
    finally:
        stop.set()
        writer.join()


HOLDER = """
import sys
from uqbench.results import Store
with Store(sys.argv[1]):
    print("open", flush=True)
    sys.stdin.read()
"""


def test_a_store_that_another_process_has_open_says_who(place):
    command = [sys.executable, "-c", HOLDER, str(place)]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert holder.stdout.readline() == "open\n"
    try:
        with pytest.raises(uq.InputError, match=rf"'decay\.zarr' is in use by process {holder.pid} on .* since 2"):
            uq.save(tree(2), place)
        # reading is not writing
        assert number(place) == 1
    finally:
        holder.kill()
        holder.wait()
    # the lock ended with its process, though it could not say so
    assert beside(place, "holder").exists()
    uq.save(tree(2), place)
    assert number(place) == 2 and not beside(place, "holder").exists()


def test_a_lock_without_words_is_one_all_the_same(place):
    with Store(place):
        beside(place, "holder").write_text("")
        with pytest.raises(uq.InputError, match="in use by another process"):
            uq.save(tree(2), place)


# trees: what stays, what goes, what is partial


def dataset(verb, partial="", **attributes):
    origin = {"verb": verb, "settings": "{}", "seed": 0, "seconds": 1.0}
    return xr.Dataset(attrs=origin | ({"partial": partial} if partial else {}) | attributes)


def of(**groups):
    return xr.DataTree.from_dict({"/": xr.Dataset(attrs={"study": "decay"}), **groups})


def test_whole_results_stay_until_their_verb_is_done_again():
    earlier = of(structure=dataset("identify"), posterior=dataset("calibrate"), variance=dataset("decompose"))
    earlier["mine"] = xr.DataTree(xr.Dataset({"x": 1.0}))
    first = results.merge(of(structure=dataset("identify", seed=1)), earlier)
    assert set(first.children) == {"structure", "posterior", "variance", "mine"}
    assert first["structure"].attrs["seed"] == 1
    # what was made of the earlier draws is not of these
    second = results.merge(of(structure=dataset("identify"), posterior=dataset("calibrate", seed=1)), earlier)
    assert set(second.children) == {"structure", "posterior", "mine"}
    assert second["posterior"].attrs["seed"] == 1
    partial = of(structure=dataset("identify", seed=1), posterior=dataset("calibrate", "10 of 20 draws", seed=1))
    third = results.merge(partial, earlier)
    assert set(third.children) == {"structure", "posterior", "variance", "mine"}
    assert third["posterior"].attrs["seed"] == 0 and third["structure"].attrs["seed"] == 1
    # partial draws make way for others
    assert results.merge(partial, partial)["posterior"].attrs["partial"] == "10 of 20 draws"


def draws(length=2):
    values = np.arange(float(length)).reshape(1, -1)
    return xr.Dataset({"k": (("chain", "draw"), values)}, {"chain": [0], "draw": range(length)})


def sobol():
    from .reporting.conftest import every_group

    return every_group()["sobol"]


def attached(tree, verb, partial="", **groups):
    return results.attach(tree, groups, verb=verb, settings={}, seed=0, seconds=1.0, partial=partial)


def test_what_was_made_of_other_draws_does_not_stay(decay_study):
    first = attached(results.start(decay_study), "calibrate", prior=draws())
    whole = attached(first, "decompose", sobol=sobol())
    assert "partial" not in whole["sobol"].attrs
    assert set(attached(whole, "calibrate", prior=draws(3)).children) == {"prior"}
    # indices of the prior are so called, and stay beside the first draws
    of_prior = attached(results.start(decay_study), "decompose", sobol=sobol())
    assert set(attached(of_prior, "calibrate", prior=draws()).children) == {"prior", "sobol"}


def test_what_is_made_of_partial_draws_is_partial(decay_study):
    first = attached(results.start(decay_study), "calibrate", "10 of 20 draws", prior=draws())
    assert attached(first, "decompose", sobol=sobol())["sobol"].attrs["partial"] == "10 of 20 draws"


# calibrations that are stopped


def chains(*lengths):
    """Of a sampler that was stopped after so many draws of each chain."""
    names = {"posterior": "k", "sample_stats": "energy", "warmup_sample_stats": "energy"}

    def chain(number, length):
        values, there = 100.0 * number + np.arange(length)[None], {"chain": [number], "draw": np.arange(length)}
        return xr.DataTree.from_dict(
            {group: xr.Dataset({name: (("chain", "draw"), values)}, there) for group, name in names.items()}
        )

    return [chain(*each) for each in enumerate(lengths)]


@pytest.mark.parametrize(
    "lengths, numbers, draws",
    [
        ((1000, 1000), [0, 1], 1000),
        ((0, 1230, 1160, 0), [1, 2], 1160),
        # 3 chains of 90 have fewer draws than 2 of 150
        ((90, 200, 150, 3), [1, 2], 150),
        ((140, 200, 150, 3), [0, 1, 2], 140),
    ],
)
def test_whole_draws_of_a_stopped_sampler(lengths, numbers, draws):
    kept = whole_draws(chains(*lengths))
    assert kept["posterior"].chain.values.tolist() == numbers
    assert kept["posterior"].sizes["draw"] == draws
    assert all(np.isfinite(kept[name].to_dataset().to_array()).all() for name in ("posterior", "sample_stats"))


def test_a_sampler_stopped_in_its_warm_up_has_no_draws():
    assert whole_draws(chains(3, 0)) is None
    assert whole_draws([]) is None


def interrupt_after(monkeypatch, seconds):
    """Ctrl-C so long after sampling has begun."""
    import nutpie

    sample, timer = nutpie.sample, threading.Timer(seconds, signal.raise_signal, [signal.SIGINT])

    def begun(*arguments, **settings):
        # once, though each chain begins by itself: a second one might come after the test
        if timer.ident is None:
            timer.start()
        return sample(*arguments, **settings)

    monkeypatch.setattr(nutpie, "sample", begun)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::RuntimeWarning")
def test_ctrl_c_keeps_the_whole_draws_as_partial(decay_study, tmp_path, monkeypatch):
    # some 10^4 draws a second: the end of this is out of reach on any machine
    interrupt_after(monkeypatch, 3.0)
    with pytest.raises(Interrupted) as stopped:
        uq.calibrate(decay_study, draws=10**7, tune=20, chains=2)
    stored = uq.load(uq.save(stopped.value.tree, tmp_path / "decay.zarr"))
    posterior = stored["posterior"].to_dataset()
    assert np.isfinite(posterior.to_array()).all()
    sizes = posterior.sizes
    expected = f"stopped with {sizes['draw']} of 10000000 draws in {sizes['chain']} of 2 chains, before predictions"
    assert {child.attrs["partial"] for child in stored.children.values()} == {expected}
    assert {"posterior", "prior", "sample_stats", "convergence", "observed_data"} == set(stored.children)
    uq.report(decay_study, stored, path=tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert f"Partial: the calibration was {expected}" in page and "calibrate, partial" in page


def test_ctrl_c_before_the_first_draws_leaves_what_was_there(decay_study, monkeypatch):
    import nutpie

    first = attached(results.start(decay_study), "calibrate", prior=draws())

    class Warming:
        def wait(self, timeout):
            raise KeyboardInterrupt

        def abort(self):
            return xr.DataTree()

    monkeypatch.setattr(nutpie, "sample", lambda *arguments, **settings: Warming())
    with pytest.raises(Interrupted) as stopped:
        uq.calibrate(decay_study, first)
    xr.testing.assert_identical(stopped.value.tree["prior"].to_dataset(), first["prior"].to_dataset())


def test_ctrl_c_during_predictions_keeps_all_draws(decay_study, monkeypatch):
    from uqbench.calibration import calibrate

    def stop(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(sys.modules[calibrate.__module__], "band", stop)
    with pytest.raises(Interrupted) as stopped:
        uq.calibrate(decay_study, draws=20, tune=20, chains=2)
    assert stopped.value.tree["posterior"].attrs["partial"].startswith("stopped with 20 of 20 draws in 2 of 2 chains")
    assert stopped.value.tree["posterior"].sizes["draw"] == 20


def test_ctrl_c_in_a_later_verb_of_run_has_the_earlier_ones(decay_study, monkeypatch, tmp_path):
    def stop(*arguments, **settings):
        raise KeyboardInterrupt

    monkeypatch.setattr("uqbench.calibration.calibrate", stop)
    with pytest.raises(Interrupted) as stopped:
        uq.run(decay_study, path=tmp_path / "page.html")
    assert "structure" in stopped.value.tree.children


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::RuntimeWarning")
@pytest.mark.parametrize(
    "values", [[1.0, 1.0, 1.0, 1.0], [1.0, np.nan, 1.0, np.nan], pytest.param([np.nan] * 4, marks=pytest.mark.slow)]
)
def test_the_page_is_written_whatever_the_draws(decay_study, tmp_path, values):
    """Few draws, all alike, or with holes as older versions have stored them."""
    tree = uq.calibrate(decay_study, draws=4, tune=10, chains=1)
    posterior = tree["posterior"].to_dataset()
    tree["posterior"] = xr.DataTree(posterior.assign(k=(("chain", "draw"), [values])))
    uq.report(decay_study, tree, path=tmp_path / "page.html")
    assert (tmp_path / "page.html").stat().st_size > 10_000


# processes that are stopped at random moments

STUDY = """
import numpy as np
import pandas as pd
import uqbench as uq

def level(theta, design, key):
    return {"y": theta["m"] + 0 * design.times}

space = uq.Space(m=uq.epistemic(uq.Normal(0.0, 2.0)))
model = uq.Model.from_function(space, level, {"y": ""}, {"y": uq.Normal("y", 0.5)}, name="level")
data = pd.DataFrame({"experiment": "e", "output": "y", "time": np.arange(4.0), "value": [0.9, 1.4, 1.1, 0.7]})
study = uq.Study("level", model, {"e": uq.Design()}, data)
"""
COMMAND = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # also where the tests run in the background
from uqbench.cli import main
sys.argv[0] = "uqbench"
main()
"""
SETTINGS = ("--tune", "50", "--chains", "2", "--n", "16", "--runs", "256")


def started(folder, seed, draws=40_000):
    (folder / "level.py").write_text(STUDY)
    arguments = ["run", folder / "level.py", "--results", folder / "out", "--seed", seed, "--draws", draws, *SETTINGS]
    command = [sys.executable, "-c", COMMAND, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)


def finished_verbs(said):
    """verb -> names of its groups, of those of which a process has said that they are stored."""
    lines = re.findall(r"^(identify|calibrate|decompose): (\S.*) in ", said, re.MULTILINE)
    return {verb: [name.removeprefix("/") for name in names.split(", ")] for verb, names in lines}


def check_store(folder, seed, said):
    place = folder / "out" / "level.zarr"
    done = finished_verbs(said)
    if not done and not place.is_dir():
        return
    stored = uq.load(place)
    assert stored.attrs["study"] == "level"
    for name, child in stored.children.items():
        assert json.loads(child.attrs["settings"]) and child.attrs["verb"] in results.GROUPS[name].verbs
    for names in done.values():
        for name in names:
            # what a later verb has put in its place, /practical with the posterior, is no loss
            assert stored[name].attrs["verb"] in results.GROUPS[name].verbs and stored[name].attrs["seed"] == seed
            assert "partial" not in stored[name].attrs


@pytest.mark.slow
@pytest.mark.parametrize("which", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_processes_stopped_at_random_moments_lose_no_finished_verb(tmp_path, which):
    """In each stretch between what a run says: while it starts and identifies, calibrates, decomposes, and reports."""
    first = started(tmp_path, 0)
    moments, lines = [time.monotonic()], []
    for line in first.stdout:
        moments.append(time.monotonic())
        lines.append(line)
    assert [line.partition(":")[0] for line in lines] == ["identify", "calibrate", "decompose", "report"]
    first.communicate()
    check_store(tmp_path, 0, "".join(lines))
    random = np.random.default_rng(which)
    for stretch, seconds in enumerate(np.diff(moments)):
        seed = stretch + 1
        process = started(tmp_path, seed)
        said = "".join(process.stdout.readline() for _ in range(stretch))
        try:
            process.wait(timeout=random.uniform(0.05, 0.95) * seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(which)
        more, errors = process.communicate(timeout=120)
        check_store(tmp_path, seed, said + more)
        assert process.returncode in (0, -which, 128 + which)
        assert "Traceback" not in errors


@pytest.mark.parametrize("which", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_run_stopped_while_it_samples_exits_as_it_should(tmp_path, which):
    process = started(tmp_path, 3, draws=10**7)
    # the first verb is stored while the second one still runs
    line = process.stdout.readline()
    assert line.startswith("identify: /structure")
    check_store(tmp_path, 3, line)
    time.sleep(1.0)
    process.send_signal(which)
    said, errors = process.communicate(timeout=120)
    assert process.returncode == 128 + which and "Traceback" not in errors
    check_store(tmp_path, 3, line + said)
    assert not list((tmp_path / "out").glob(".*"))


SWALLOWED = """
import signal, sys, time
from uqbench import cli

class Ends:
    def __del__(self):
        signal.raise_signal(signal.SIGTERM)

def command(words, **settings):
    Ends()
    print("went on", flush=True)
    time.sleep(600)

cli.app = command
cli.main()
"""


def test_a_signal_that_a_destructor_swallows_comes_again():
    """As in the callbacks of a garbage collection, which come at any time."""
    command = [sys.executable, "-c", SWALLOWED]
    out = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert (out.returncode, out.stdout) == (128 + signal.SIGTERM, "went on\n")


def groups(rng):
    """A tree as verbs make it: text, numbers, coordinates, attributes."""
    return xr.DataTree.from_dict(
        {
            "/": xr.Dataset(attrs={"study": "decay"}),
            "/fit": xr.Dataset(
                {
                    "value": ("parameter", rng.normal(size=2)),
                    "at_bound": ("parameter", np.array(["", "upper"], object)),
                },
                {"parameter": ["k", "sigma"]},
                {"verb": "identify", "energies": [1.0, np.nan]},
            ),
            "/posterior": xr.Dataset({"k": (("chain", "draw"), rng.normal(size=(2, 5)))}, {"chain": [0, 1]}),
        }
    )


CHANGES = {
    "nothing": lambda tree: None,
    "a number in place": lambda tree: tree["posterior"]["k"].values.__setitem__((1, 4), 7.0),
    "a type": lambda tree: tree["posterior"].__setitem__("k", tree["posterior"]["k"].round().astype(int)),
    "a coordinate": lambda tree: tree["posterior"].coords.__setitem__("chain", [0, 2]),
    "an attribute of a group": lambda tree: tree["fit"].attrs.update(verb="calibrate"),
    "an attribute of an array": lambda tree: tree["fit"]["value"].attrs.update(unit="1/h"),
    "a text": lambda tree: tree["fit"]["at_bound"].values.__setitem__(0, "lower"),
    "one group less": lambda tree: tree.__delitem__("fit"),
    "a group within one": lambda tree: tree.__setitem__("fit/within", xr.DataTree(xr.Dataset({"x": 1.0}))),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_the_next_version_is_the_one_that_another_store_writes(tmp_path, change):
    made = groups(np.random.default_rng(0))
    with Store(tmp_path / "decay.zarr") as store:
        store.save(made)
        change(made)
        store.save(made)
        second = store.load()
        # what was copied is copied once more
        store.save(made)
    expected = uq.load(uq.save(made, tmp_path / "elsewhere.zarr"))
    for found in (second, uq.load(tmp_path / "decay.zarr")):
        assert found.identical(expected)
        assert found["posterior"]["k"].dtype == expected["posterior"]["k"].dtype


def test_groups_that_are_as_they_were_are_not_written_again(tmp_path, monkeypatch):
    made, written = groups(np.random.default_rng(0)), []
    to_zarr = xr.DataTree.to_zarr

    def noted(self, *args, **options):
        written.append(set(self.children))
        return to_zarr(self, *args, **options)

    monkeypatch.setattr(xr.DataTree, "to_zarr", noted)
    with Store(tmp_path / "decay.zarr") as store:
        store.save(made)
        made["posterior"]["k"].values[0, 0] = 2.0
        store.save(made)
    assert written == [{"fit", "posterior"}, {"posterior"}]
