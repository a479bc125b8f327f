"""The fork server: the one program of ours that enters sandboxes.

Stdlib only, and everything is imported before the first fork: once a process is in a sandbox's
mount namespace, an import or a shared library would be loaded from files that the agent controls.
No program of the sandbox is executed before the process has dropped to the sandbox's capabilities.
"""
