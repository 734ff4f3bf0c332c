import numpy as np
import pandas as pd
import pytest

import uqbench as uq

EXPERIMENTS = {"low": uq.Design(inputs={"dose": 2.0}), "high": uq.Design(inputs={"dose": 4.0})}


def test_times_come_from_the_data(decay_study):
    assert decay_study.experiments["high"].times.tolist() == [1.0, 3.0, 5.0]
    assert decay_study.units == ("low", "high")


def test_digests_follow_content(decay, decay_table, decay_study):
    again = uq.Study("decay", decay, EXPERIMENTS, decay_table)
    changed = uq.Study("decay", decay, EXPERIMENTS, decay_table.assign(value=decay_table["value"] + 1e-9))
    assert again.data_digest == decay_study.data_digest != changed.data_digest
    assert again.model_digest == decay_study.model_digest == changed.model_digest


def broken(**columns):
    table = pd.DataFrame(
        {"experiment": ["low"] * 3, "output": ["C"] * 3, "time": [1.0, 2.0, 3.0], "value": [1.0, 1.0, 1.0]}
    )
    for name, values in columns.items():
        table[name] = values
    return table


@pytest.mark.parametrize(
    "table, parts",
    [
        (broken().drop(columns=["time", "value"]), ["no column 'time'", "no column 'value'"]),
        (broken().rename(columns={"time": "tmie"}), ["no column 'time'; did you mean 'tmie'"]),
        (broken(experiment=["low", "lwo", "lwo"]), ["lines 3, 4: unknown experiment 'lwo'; did you mean 'low'"]),
        (broken(output=["C", "C", "c0"]), ["line 4: unknown output with noise 'c0'"]),
        (broken(time=[-1.0, 1.0, 2.0]), ["line 2: time lies before the start"]),
        (broken(value=[np.nan, 1.0, np.inf]), ["line 2: value is missing", "line 4: value is infinite"]),
        (broken(value=["1", "<LOD", "2"]), ["line 3: value '<LOD' is not a number"]),
        (
            broken(time=["0", "soon", "2"], output=["C", "D", "C"]),
            ["'soon' is not a number", "unknown output with noise 'D'"],
        ),
        (broken().iloc[:0], ["no rows"]),
    ],
)
def test_a_broken_table_is_reported_completely(decay, tmp_path, table, parts):
    path = tmp_path / "data.csv"
    table.to_csv(path, index=False)
    with pytest.raises(uq.InputError) as caught:
        uq.Study("decay", decay, EXPERIMENTS, path)
    for part in parts:
        assert part in str(caught.value)
    # a frame has rows instead of lines
    with pytest.raises(uq.InputError) as caught:
        uq.Study("decay", decay, EXPERIMENTS, table)
    for part in parts:
        assert part.split(": ")[-1] in str(caught.value)


def test_lines_are_counted_as_an_editor_counts(decay, tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("# where from\n\nexperiment,output,time,value\nlow,C,1,1\n\nlow,C,2,often\n")
    with pytest.raises(uq.InputError, match="line 6: value 'often' is not a number"):
        uq.Study("decay", decay, EXPERIMENTS, path)


def test_a_label_may_have_what_begins_a_line_of_comments(decay, tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("experiment,output,time,value,subject\n# two of them\nlow,C,1,1,pig#1\nhigh,C,1,2,pig#2\n")
    assert uq.Study("decay", decay, EXPERIMENTS, path, unit="subject").units == ("pig#1", "pig#2")


def wrong_quantity(outputs, design):
    return outputs["D"][0]


def many_values(outputs, design):
    return outputs["C"]


def test_quantities_are_tried_before_anything_is_run(decay, decay_table):
    with pytest.raises(uq.InputError) as caught:
        uq.Study("decay", decay, EXPERIMENTS, decay_table, {"a": wrong_quantity, "b": many_values})
    for part in ("quantity 'a' reads 'D'", "quantity 'b' has shape (3,)"):
        assert part in str(caught.value)


def test_a_missing_unit_column_and_file_are_reported(decay, tmp_path):
    with pytest.raises(uq.InputError, match="no column 'subject'"):
        uq.Study("decay", decay, EXPERIMENTS, broken(), unit="subject")
    with pytest.raises(uq.InputError, match=r"there is no file 'none\.csv'"):
        uq.Study("decay", decay, EXPERIMENTS, tmp_path / "none.csv")


def test_quantities_and_experiments_are_checked_together(decay):
    with pytest.raises(uq.InputError) as caught:
        uq.Study(
            "decay",
            decay,
            {"a": uq.Design(), "b": uq.Design([1.0])},
            None,
            {"peak": 3.0, "auc": uq.Quantity(many_values, uq.Design([1.0], {"dose": 1.0}), "mg//h")},
        )
    for part in ("'a' has no times", "reads 'dose'", "quantity 'peak' is float", "mg//h"):
        assert part in str(caught.value)


def test_an_unknown_study_suggests_the_nearest():
    with pytest.raises(uq.InputError, match="did you mean 'theophylline'"):
        uq.load_study("theofylline")


def test_a_study_file_takes_no_name_of_a_module(tmp_path):
    """A file queue.py is a study, and the standard library keeps its queue."""
    import pickle
    import queue
    import sys

    path = tmp_path / "queue.py"
    path.write_text("from studies.secretion import study\n\n\ndef double(x):\n    return 2 * x\n")
    assert uq.load_study(str(path)).name == "secretion"
    assert sys.modules["queue"] is queue and hasattr(queue, "SimpleQueue")
    own = sys.modules["uqbench_study_queue"]
    assert pickle.loads(pickle.dumps(own.double))(2) == 4


def test_a_study_can_be_a_file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("from studies.secretion import study\n")
    assert uq.load_study(str(path)).name == "secretion"
    path.write_text("studi = 1\n")
    with pytest.raises(uq.InputError, match="exports no `study`"):
        uq.load_study(str(path))


MINE = """
import uqbench as uq

def level(theta, design, key):
    return {"y": theta["m"] + 0 * design.times}

space = uq.Space(m=uq.epistemic(uq.Normal(0.0, 2.0)))
model = uq.Model.from_function(space, level, {"y": ""}, {"y": uq.Normal("y", 0.5)}, name="level")
study = uq.Study("level", model, {"e": uq.Design()}, "mine.csv")
second = uq.Study("second", model, {"e": uq.Design()}, "mine.csv")
"""


def in_folder(folder, value=1.5):
    folder.mkdir(exist_ok=True)
    (folder / "mine.py").write_text(MINE)
    (folder / "mine.csv").write_text(f"experiment,output,time,value\ne,y,1,{value}\n")
    return folder / "mine.py"


def test_data_lie_beside_the_file_of_the_study(tmp_path, monkeypatch):
    path, other = in_folder(tmp_path / "there"), in_folder(tmp_path / "here", value=9.0)
    monkeypatch.chdir(other.parent)
    assert uq.load_study(str(path)).data["value"].tolist() == [1.5]
    # a script that makes its study is such a file as well
    names = {"__file__": str(path), "__name__": "__main__"}
    exec(compile(MINE, str(path), "exec"), names)
    assert names["study"].data["value"].tolist() == [1.5]
    # without a file, or where there is none beside it, from the working folder
    path.with_name("mine.csv").unlink()
    assert uq.load_study(str(path)).data["value"].tolist() == [9.0]
    other.with_name("mine.csv").unlink()
    with pytest.raises(uq.InputError, match=r"no file 'mine\.csv' in '.*there' or '.*here'"):
        uq.load_study(str(path))


def test_a_file_may_have_several_studies(tmp_path):
    path = in_folder(tmp_path)
    assert uq.load_study(f"{path}:second").name == "second"
    assert uq.load_study(str(path)).name == "level"
    with pytest.raises(uq.InputError, match=r"exports no `third` .*`.*mine\.py:study`, `.*mine\.py:second`"):
        uq.load_study(f"{path}:third")


@pytest.mark.parametrize(
    "source, expected",
    [
        ("x = 1\ndef f(:\n", "SyntaxError in mine.py, line 2: invalid syntax"),
        ("\n\nimport nothing_of_this_name\n", "ModuleNotFoundError in mine.py, line 3"),
        ("import json\njson.loads('{')\n", "JSONDecodeError in mine.py, line 2"),
        ("import numpy as np\nnp.zeros(2).reshape(3)\n", "ValueError in mine.py, line 2"),
        ("import uqbench as uq\nuq.Study()\n", "TypeError in mine.py, line 2"),
        ("\n1 / 0\n", "ZeroDivisionError in mine.py, line 2"),
        ("open('nothing')\n", "FileNotFoundError in mine.py, line 1"),
        ("import broken\n", "SyntaxError in broken.py, line 1"),
    ],
)
def test_an_error_in_a_study_names_the_line_of_its_file(tmp_path, monkeypatch, source, expected):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "broken.py").write_text("a b\n")
    (tmp_path / "mine.py").write_text(source)
    with pytest.raises(uq.InputError) as caught:
        uq.load_study(str(tmp_path / "mine.py"))
    assert expected in str(caught.value)


def test_suggested_commands_are_those_that_load_the_study(tmp_path, monkeypatch):
    import shlex

    path = in_folder(tmp_path / "a folder")
    monkeypatch.chdir(path.parent)
    changed, study = uq.load_study("mine.py:second"), uq.load_study(str(path))
    tree = uq.identify(study, starts=0)
    # the same study with other data
    path.with_name("mine.csv").write_text("experiment,output,time,value\ne,y,1,2.5\n")
    changed = uq.load_study(str(path))
    for verb in (uq.identify, uq.calibrate, uq.decompose, uq.report):
        with pytest.raises(uq.InputError, match="the tree's data is") as caught:
            verb(changed, tree)
        suggested = str(caught.value).split("`")[1]
        assert shlex.split(suggested) == ["uqbench", "run", str(path)]
    uq.report(study, tree, path=tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text().replace("&#39;", "'")
    assert f"<code>uqbench calibrate {shlex.quote(str(path))}</code>" in page


def test_results_of_another_model_are_not_reported(decay_study, decay_table):
    from .conftest import decay_initial, decay_observe, decay_space

    def faster(t, y, p, inputs):
        return {"C": -2 * p["k"] * y["C"]}

    model = uq.Model(
        decay_space(), uq.Ode(decay_initial, faster), decay_observe, {"C": "mg/L"}, {"C": uq.Normal("C", "sigma")},
        name="decay",
    )  # fmt: skip
    tree = uq.identify(decay_study, starts=0)
    with pytest.raises(uq.InputError, match="the tree's model is"):
        uq.report(uq.Study("decay", model, EXPERIMENTS, decay_table), tree)


def test_the_column_of_units_is_part_of_what_the_data_are(decay, decay_table):
    data = decay_table.assign(subject=["a", "b"] * 3 + ["a"])
    plain, by_subject = (
        uq.Study("decay", decay, EXPERIMENTS, data),
        uq.Study("decay", decay, EXPERIMENTS, data, unit="subject"),
    )
    assert plain.data_digest != by_subject.data_digest


@pytest.mark.parametrize("name", ["", " ", "a/b", "../a", ".a", "a\\b", None, 3])
def test_a_name_that_no_file_can_have_is_refused(decay, decay_table, name):
    with pytest.raises(uq.InputError, match="cannot be that of a file"):
        uq.Study(name, decay, EXPERIMENTS, decay_table)
