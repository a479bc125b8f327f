"""Faults on request: what a server is told to do wrong, for tests and chaos; off by default.

One aiohttp middleware with admin routes and a client. It knows none of the servers that use it.
"""
