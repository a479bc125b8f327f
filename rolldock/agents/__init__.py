"""One small declarative file per agent: install, configure, command, wire format. No I/O."""
