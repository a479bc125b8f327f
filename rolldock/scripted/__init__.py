"""A model server that plays written conversations over OpenAI's chat completions.

A program that speaks the real protocol, for demos, tests and benchmarks. It records nothing, calls
nothing, and knows nothing of rollouts.
"""
