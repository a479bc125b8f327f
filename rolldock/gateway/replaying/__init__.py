"""Answers from a recording: which recorded turn a request gets, and where two runs part."""
