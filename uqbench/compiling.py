"""With how much effort programs are compiled."""

# For `compiler_options` of `jax.jit`, of programs that run a few times only: in half the time, without the passes that
# make them fast. Not for those that are called within others, which are compiled together.
LITTLE_EFFORT = {"xla_backend_optimization_level": 0}
