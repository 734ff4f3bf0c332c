"""The sample: an array, or a file with one."""

from pathlib import Path

import numpy as np


def read_sample(sample) -> tuple[np.ndarray | None, str | None]:
    """The sample as an array, or why there is none."""
    if not isinstance(sample, str | Path):
        array = np.asarray(sample)
    else:
        path = Path(sample)
        if not path.is_file():
            return None, f"there is no file {str(path)!r}."
        readers = {".npy": _stored, ".tif": _pages, ".tiff": _pages}
        if path.suffix not in readers:
            return None, f"{path.name!r} is neither .npy nor .tif; give one of these, or an array."
        try:
            array = readers[path.suffix](path)
        # what a reader raises of a file that is something else, or has pages of several sizes
        except (OSError, ValueError):
            return (
                None,
                f"{path.name!r} does not hold an array of numbers, or an image; give another file, or an array.",
            )
    if array.dtype.kind not in "biuf":
        return None, f"the sample holds {array.dtype}; give real numbers."
    if array.ndim not in (2, 3):
        return None, f"the sample has the shape {array.shape}; give two or three axes, without one of colours."
    return array, None


def _stored(path: Path) -> np.ndarray:
    return np.load(path, allow_pickle=False)


def _pages(path: Path) -> np.ndarray:
    """A picture, or a stack of them along the first axis."""
    from PIL import Image, ImageSequence

    with Image.open(path) as image:
        pages = [np.array(page) for page in ImageSequence.Iterator(image)]
    return pages[0] if len(pages) == 1 else np.stack(pages)
