"""The processes behind the gateway: a concurrent RQ worker and the keeper loops that run beside it."""
