"""Tables in CSV files, with lines of comments.

A `#` makes a comment at the beginning of a line only: labels have it too, as "gel#1" and "gel#2", which would be one
label without what stands behind it.
"""

from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd


def read_csv(path: str | Path, **options: Any) -> pd.DataFrame:
    """The table of a file without lines that are empty or begin with `#`.

    Args:
        options: of `pandas.read_csv`.

    Returns:
        its index, called "line", counts lines of the file from 1.

    Raises:
        OSError, UnicodeDecodeError, pandas.errors.ParserError, pandas.errors.EmptyDataError: it cannot be read.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     path = Path(folder) / "gels.csv"
        ...     _ = path.write_text("# blots\\ngel,value\\ngel#1,2\\n")
        ...     read_csv(path)["gel"].to_dict()
        {3: 'gel#1'}
    """
    # not by `splitlines`, to which other signs than this end a line as well
    lines = Path(path).read_text(encoding="utf-8-sig").split("\n")
    rows = {number: line for number, line in enumerate(lines, start=1) if line.strip() and line.lstrip()[0] != "#"}
    table = pd.read_csv(StringIO("\n".join(rows.values())), **options)
    return table.set_axis(pd.Index([*rows][1 : len(table) + 1], name="line"))
