"""The Harbor task format: read, bundle, grade. Runs no agent."""
