"""An author's right-hand side, outputs and events as machine code: read from JAX, differentiated, compiled by LLVM."""

from .graph import NotAKernel as NotAKernel
from .model_kernels import ModelKernels as ModelKernels
from .model_kernels import Sources as Sources
from .model_kernels import build as build
