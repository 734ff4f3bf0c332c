"""Figures as blocks of the page, in both widths."""

from collections.abc import Callable

from matplotlib.figure import Figure

from . import svg
from .blocks import Drawing
from .drawing import NARROW


def drawn(draw: Callable[..., Figure], label: str, prefix: str, caption: str) -> Drawing:
    """`draw(width=)` in both widths: shrunk to a phone, the labels of a wide figure could not be read."""
    wide = svg.inline(draw(), label, prefix, "figure wide")
    return Drawing(wide, caption, svg.inline(draw(width=NARROW), label, f"{prefix}-narrow", "figure narrow"))
