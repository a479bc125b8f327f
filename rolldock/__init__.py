"""Everything of Rolldock that is not Temporal: contracts, sandboxes, gateway, agents, client.

Workflows, activities and the worker are top-level packages of the repository and import this one;
nothing here imports them.
"""
