"""The verb `report`: everything that is known about a study on one page that needs nothing beside it.

The page is made from the tree alone, so what it says is what was computed and stored, not what a second run would give.
"""

import os
import re
import shlex
from pathlib import Path

import jinja2
import xarray as xr
from markupsafe import Markup, escape

from ..errors import InputError
from ..results import check_tree
from .provenance import head, provenance
from .sections import sections

TEMPLATE = "page.html.jinja"


def report(study, tree: xr.DataTree | None = None, *, path: str | Path | None = None) -> xr.DataTree:
    """Writes the report of a study's results as one HTML page.

    Args:
        study: a `Study`, or only its name; no model is run.
        tree: its results; groups that are missing are named on the page with the verb that makes them.
        path: of the page; default `results/<study>.html`.

    Returns:
        the tree as it was given.

    Raises:
        InputError: an empty tree, one of another study, or of another model, other data or quantities than this study
            has now (a name alone cannot tell); a path that cannot be written (what was there stays).

    Example:
        >>> import uqbench as uq
        >>> from studies.theophylline import study
        >>> tree = uq.report(study, uq.load("results/theophylline.zarr"))  # doctest: +SKIP
    """
    name, command = (study, shlex.quote(study)) if isinstance(study, str) else (study.name, study.command)
    if tree is None or not tree.children:
        raise InputError(
            f"report {name!r}",
            [
                f"there are no results yet; run `uqbench run {command}`, or one of `uqbench identify {command}`, "
                f"`uqbench calibrate {command}`, `uqbench decompose {command}` first."
            ],
        )
    owner = tree.attrs.get("study", name)
    if owner != name:
        raise InputError(
            f"report {name!r}", [f"the tree holds results of the study {owner!r}; run `uqbench run {command}` first."]
        )
    if not isinstance(study, str):
        check_tree(study, tree)
    target = Path("results", f"{re.sub(r'[^\w.-]+', '_', name)}.html") if path is None else Path(path)
    _write(target, page(tree, name, command))
    return tree


def page(tree: xr.DataTree, name: str, command: str) -> str:
    """The page as text.

    Args:
        tree: results with at least one group.
        name: of the study.
        command: what stands for the study in commands.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["code"] = _code
    return environment.get_template(TEMPLATE).render(
        name=name,
        command=command,
        head=list(head(tree)),
        sections=sections(tree, command),
        provenance=provenance(tree),
    )


def _code(text: str) -> Markup:
    """Escaped text whose `backticks` have become code."""
    pieces = str(text).split("`")
    if len(pieces) % 2 == 0:
        # an unpaired backtick is a character like any other
        return escape(text)
    return Markup("").join(
        Markup("<code>{}</code>").format(piece) if index % 2 else escape(piece) for index, piece in enumerate(pieces)
    )


def _write(path: Path, text: str) -> None:
    """Writes beside the target and renames into place: a reader sees the old page or the new one, never half of one."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
    except OSError as error:
        raise InputError(
            "report", [f"cannot write {str(path)!r}: {error.strerror or error}; give another `path`."]
        ) from error
    finally:
        # the folder itself may be what cannot be used
        if beside.is_file():
            beside.unlink()
