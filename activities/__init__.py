"""Thin Temporal skin over rolldock: one class per area, clients injected, no business rules."""
