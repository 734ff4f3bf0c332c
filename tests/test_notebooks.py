"""Notebooks are kept as text without outputs and run here from top to bottom: one by default, all by `-m slow`."""

import json
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.py"))


def run_notebook(path, last_cell="pass"):
    """Runs every cell and one more, which may store what the notebook has found.

    Returns:
        The code cells that were run.
    """
    jupytext = pytest.importorskip("jupytext")
    from nbclient import NotebookClient
    from nbformat.v4 import new_code_cell

    notebook = jupytext.read(path)
    notebook.cells.append(new_code_cell(last_cell))
    NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": path.parents[1]}}
    ).execute()
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    figures = [output for cell in cells for output in cell.outputs if "image/png" in output.get("data", {})]
    assert len(figures) == sum("figures." in cell.source for cell in cells)
    return cells


@pytest.mark.parametrize(
    "path",
    [
        # the others take a quarter of a minute to three minutes each; what they show is tested in the rooms they are of
        pytest.param(path, marks=() if path.stem == "identifiability" else pytest.mark.slow)
        for path in NOTEBOOKS
        # that of theophylline runs in `test_theophylline`, which looks at its results
        if path.stem != "theophylline"
    ],
    ids=lambda path: path.stem,
)
def test_notebook_runs(path):
    cells = run_notebook(path)
    assert cells and all(cell.execution_count for cell in cells)


def test_a_notebook_is_executed_by_the_command_in_the_readme(tmp_path):
    """With the head of our notebooks, in the environment that the tests run in."""
    jupytext = pytest.importorskip("jupytext.cli")
    pytest.importorskip("nbconvert")
    head = NOTEBOOKS[0].read_text().split("# ---\n")[1]
    path = tmp_path / "small.py"
    path.write_text(f"# ---\n{head}# ---\n\n# %%\nprint(6 * 7)\n")
    jupytext.jupytext(["--to", "ipynb", "--execute", str(path)])
    (cell,) = json.loads(path.with_suffix(".ipynb").read_text())["cells"]
    assert cell["outputs"][0]["text"] == ["42\n"]
