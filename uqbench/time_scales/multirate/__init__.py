"""Multirate: large steps for the slow states, the fast ones solved between them, and whether that pays."""

from .costs import work_precision as work_precision
from .steps import Multirate as Multirate
from .steps import multirate as multirate
