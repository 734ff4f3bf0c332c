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
    path.write_text("# where from\n\nexperiment,output,time,value\nlow,C,1,1\n\nlow,C,2,\n")
    with pytest.raises(uq.InputError, match="line 6: value is missing"):
        uq.Study("decay", decay, EXPERIMENTS, path)


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
