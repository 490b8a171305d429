"""A deterministic simulation of gateway, workers, keeper and upstream in one process, on a real Valkey."""
