"""Blobs by digest and named create-once records, in a directory or over obstore. No lock."""
