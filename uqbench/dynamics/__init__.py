"""What a system does in the long run: conservation laws, steady states, limit cycles, branches of equilibria."""
