"""Initial value problems of an `Ode`: solved by the native engine (`compiled`) or by JAX alone (`odes`)."""
