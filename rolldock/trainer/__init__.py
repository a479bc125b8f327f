"""The client library: start rollouts, await results. No sandbox, no gateway."""
