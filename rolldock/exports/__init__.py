"""Ended rollouts in the formats of others: ATIF trajectories, Harbor's job layout, chat JSONL.

What a document says is decided by pure functions of a result and its traces; reading the store is
in `material.py`, writing files in `writing.py`. Nothing here starts or changes a rollout.
"""
