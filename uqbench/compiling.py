"""With how much effort programs are compiled, and who runs them."""

import jax

# For `compiler_options` of `jax.jit`, of programs that run a few times only: in half the time, without the passes that
# make them fast. Not for those that are called within others, which are compiled together.
LITTLE_EFFORT = {"xla_backend_optimization_level": 0}

# A program is run by the thread that calls it. Another one would be woken for each call, and looks for more to do
# before it sleeps again: of a gradient that takes .1 ms, of which a sampler asks for a hundred thousand, half the time.
# What shares out its work to all cores still does. JAX reads this when it first computes anything.
jax.config.update("jax_cpu_enable_async_dispatch", False)
