"""Memory: what the fast states of a linear system leave behind, and ordinary equations that have it."""

from .embedded import compare as compare
from .embedded import embedding as embedding
from .embedded import embedding_error as embedding_error
from .embedded import embedding_of_series as embedding_of_series
from .kernel import MemoryKernel as MemoryKernel
from .kernel import memory_kernel as memory_kernel
from .series import Prony as Prony
from .series import prony as prony
