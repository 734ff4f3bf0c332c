"""Figures and equations as inline SVG: no file beside the page, text stays text, colours follow the reader's theme."""

import io
import re

import matplotlib
from markupsafe import Markup, escape
from matplotlib.figure import Figure

from .drawing import PALETTE

# All that matplotlib would write about itself and the moment: the same tree gives the same page.
_SILENT = dict.fromkeys(("Date", "Creator", "Format", "Type"))
_EQUATION_POINTS = 12
# of the page's text size: mathematics is denser than prose
_EM = 1.15


def inline(figure: Figure, label: str, prefix: str, kind: str = "figure") -> Markup:
    """A figure as an `<svg>` element.

    Args:
        figure: any matplotlib figure in the colours of `figures.PALETTE`.
        label: what it shows, for readers who cannot see it.
        prefix: put before its ids, which must be unique on the page.
        kind: "figure", or of one that is drawn twice "figure wide" and "figure narrow".
    """
    svg = _written(figure, {"svg.fonttype": "none"}, prefix)
    # The page's own fonts: the system's, at the sizes that matplotlib laid out.
    svg = re.sub(r"font-family: [^;\"]+;?", "", svg)
    return _element(svg, label, f'class="{kind}"')


def equation(latex: str, prefix: str) -> Markup:
    """A line of LaTeX as an `<svg>` element, or as code where mathtext does not know a command."""
    with matplotlib.rc_context({"mathtext.fontset": "stix"}):
        figure = Figure(figsize=(0.1, 0.1))
        figure.text(0, 0, f"${_readable(latex)}$", fontsize=_EQUATION_POINTS, color=PALETTE["ink"])
        try:
            svg = _written(figure, {"svg.fonttype": "path"}, prefix, bbox_inches="tight", pad_inches=0.02)
        except ValueError:
            return Markup("<code>{}</code>").format(latex)
    width, height = (
        float(x) / _EQUATION_POINTS * _EM for x in re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg).groups()
    )
    return _element(svg, latex, f'style="width:{width:.2f}em;height:{height:.2f}em"')


def _readable(latex: str) -> str:
    """Names of several letters upright and products set apart, lest `k a` and `ka` look the same.

    A product is a space between two factors, which mathematics would not show. Fractions stay at full size.
    """
    kept = r"\\(?:operatorname|mathrm|mathit|text)\{[^{}]*\}|\\[A-Za-z]+"
    latex = re.sub(rf"{kept}|[A-Za-z]{{2,}}", lambda m: m[0] if m[0][0] == "\\" else rf"\mathrm{{{m[0]}}}", latex)
    latex = latex.replace(r"\frac", r"\dfrac").replace("{d t}", "{dt}")
    ends, begins = r"(?<!\\cdot)(?<!\\times)(?<=[\w)}])", r"(?=[\w({]|\\(?!right|cdot|times|leq?\b|geq?\b|neq?\b))"
    return re.sub(rf"{ends}\s+{begins}", r"\,", latex)


def _written(figure: Figure, settings: dict, prefix: str, **options) -> str:
    stream = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "uqbench", **settings}):
        figure.savefig(stream, format="svg", transparent=True, metadata=_SILENT, **options)
    svg = stream.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<style.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="{prefix}-', svg)
    svg = re.sub(r'(href="#|url\(#)', rf"\g<1>{prefix}-", svg)
    for name, colour in PALETTE.items():
        svg = svg.replace(colour, f"var(--{name})")
    return svg


def _element(svg: str, label: str, attributes: str) -> Markup:
    """The outermost tag without a fixed size, with a name for screen readers."""
    view = re.search(r'viewBox="[^"]+"', svg).group()
    body = svg[svg.index(">") + 1 :]
    named = f'role="img" aria-label="{escape(label)}"'
    return Markup(f'<svg xmlns:xlink="http://www.w3.org/1999/xlink" {view} {named} {attributes}>{body}')
