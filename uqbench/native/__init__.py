"""Machine code without a compiler: a restricted Python subset (`language`), its compilation by LLVM (`library`), and
calls of the code from compiled JAX (`foreign_call`)."""
