"""The interception server: wire formats and the session log. Decides nothing about rollouts."""
