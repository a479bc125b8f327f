"""How model servers are asked: one class per way. Knows no session log and no agent."""
