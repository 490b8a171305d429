"""The upstream stamp provider: protocol, errors, Peruri adapter, and the one composition of policies."""
