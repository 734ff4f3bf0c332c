"""From native functions to the text of an LLVM module."""

from .module import translate as translate
