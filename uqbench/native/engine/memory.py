"""Arrays from one piece of memory."""

from ..language import Indices, Vector, native


@native
def take(pool: Vector, used: Indices, count: int) -> Vector:
    """The next `count` numbers of the pool."""
    start = used[0]
    # rows start at whole cache lines, eight numbers each
    used[0] = start + 8 * ((count + 7) // 8)
    return pool[start:]
