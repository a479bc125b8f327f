"""A Prime Sandboxes API server for one machine, on bubblewrap. It is not a cluster."""
