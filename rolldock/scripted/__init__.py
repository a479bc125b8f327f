"""A model server that plays written conversations over the real protocol."""
