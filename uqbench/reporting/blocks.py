"""What a section is built of: the content of the page without its looks, which are the template's.

The template sets each block by its `kind` and knows nothing of what it means.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup


@dataclass(frozen=True)
class Paragraph:
    """Text, in which `backticks` mark code; `tone` is "text", "quiet" or "flag"."""

    text: str
    tone: str = "text"
    kind: str = "paragraph"


@dataclass(frozen=True)
class Cell:
    """A cell with a small second line, or a verdict that is to be seen (`flag`)."""

    text: str
    note: str = ""
    flag: bool = False


@dataclass(frozen=True)
class Table:
    """Rows under a heading line; a row of one cell is a subheading.

    Columns named in `text` are set left, all others hold numbers.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell | str]]
    text: Sequence[str] = ()
    caption: str = ""
    kind: str = "table"


@dataclass(frozen=True)
class Drawing:
    """A figure, drawn for a page and for a phone where that is not the same, with what it shows."""

    picture: Markup
    caption: str
    narrow: Markup | None = None
    kind: str = "figure"


@dataclass(frozen=True)
class Equations:
    """Lines of mathematics."""

    lines: Sequence[Markup]
    kind: str = "equations"


@dataclass(frozen=True)
class Section:
    """One answer. `missing` names the verb to run where there is nothing to say yet."""

    name: str
    title: str
    heading: str = ""
    blocks: Sequence = ()
    missing: str = ""
