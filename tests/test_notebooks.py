"""Notebooks are kept as text without outputs and run here from top to bottom, without their slow cells at first."""

import json
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.py"))


def is_slow(cell):
    """Whether it is tagged: it compiles for long what other tests check, and no cell without the tag needs it."""
    return "slow" in cell.metadata.get("tags", [])


def run_notebook(path, last_cell="pass", whole=True):
    """Runs every cell, or those that are not slow, and one more, which may store what the notebook has found.

    Returns:
        The code cells that were run.
    """
    jupytext = pytest.importorskip("jupytext")
    from nbclient import NotebookClient
    from nbformat.v4 import new_code_cell

    notebook = jupytext.read(path)
    notebook.cells = [cell for cell in notebook.cells if whole or not is_slow(cell)]
    notebook.cells.append(new_code_cell(last_cell))
    NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": path.parents[1]}}
    ).execute()
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    figures = [output for cell in cells for output in cell.outputs if "image/png" in output.get("data", {})]
    assert len(figures) == sum("figures." in cell.source for cell in cells)
    return cells


# that of theophylline runs in `test_theophylline`, which looks at its results
IN_PARTS = [path for path in NOTEBOOKS if 'tags=["slow"]' in path.read_text()]


@pytest.mark.parametrize(
    "path",
    [
        # three minutes, most of it compiling; what it shows is tested in tests/coupling and tests/forward_models
        pytest.param(path, marks=pytest.mark.slow if path.stem == "across_scales" else ())
        for path in NOTEBOOKS
        if path.stem != "theophylline"
    ],
    ids=lambda path: path.stem,
)
def test_notebook_runs(path):
    cells = run_notebook(path, whole=path not in IN_PARTS)
    assert cells and all(cell.execution_count for cell in cells)


@pytest.mark.slow
@pytest.mark.parametrize("path", IN_PARTS, ids=lambda path: path.stem)
def test_notebook_with_slow_cells_runs_from_top_to_bottom(path):
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
