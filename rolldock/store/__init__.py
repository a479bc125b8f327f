"""Blobs by digest and named create-once records, over obstore. No mutable state, no lock."""
