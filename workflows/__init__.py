"""What happens, in order. Deterministic: no I/O, no clock, no randomness of its own."""
