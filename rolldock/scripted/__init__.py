"""A model server that plays written conversations over the wire formats that agents speak.

A program that speaks the real protocols (OpenAI's chat completions and Responses, Anthropic's
Messages), for demos, tests and benchmarks. It records nothing, calls nothing, and knows nothing of
rollouts.
"""
