"""One class per wire format. The server knows none of them."""
