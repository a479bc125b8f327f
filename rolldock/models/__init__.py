"""The contracts: frozen pydantic models, one module per noun. No behaviour beyond validation."""
