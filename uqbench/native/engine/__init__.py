"""The integrator: one adaptive loop for every model, compiled once, in the restricted Python of `..language`."""
