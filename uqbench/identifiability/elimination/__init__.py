"""Input-output equations: relations between outputs, inputs and their derivatives, without states."""
