"""Fast and slow in one system: stiffness, reduction of fast states, memory, multirate steps, a study's verdict."""
