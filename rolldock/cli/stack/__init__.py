"""One machine's stack: its processes, started, supervised and ended. No rollouts here."""
