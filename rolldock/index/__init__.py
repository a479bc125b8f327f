"""The index of ended rollouts, kept on this machine in SQLite; every file of it can be rebuilt."""
