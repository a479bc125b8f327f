"""What Rolldock needs of a sandbox, over prime_sandboxes.AsyncSandboxClient. Knows no Temporal."""
