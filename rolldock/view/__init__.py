"""`rolldock view`: a local, read-only web page over the store. It changes nothing anywhere."""
