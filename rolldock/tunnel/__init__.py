"""The way from cloud sandboxes to the gateway: a Prime Tunnel, kept, published, and watched.

`keeper` and what it uses run in `rolldock tunnel`; `published` and `reach` are what a worker needs.
Knows no Temporal, and nothing of what goes through the tunnel.
"""
