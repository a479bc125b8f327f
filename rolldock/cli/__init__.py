"""The rolldock command. Nothing here that the library cannot do."""
