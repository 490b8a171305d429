"""The domain: the order and its states, submit, cancel, fulfil, ledger, fairness; the Redis store in Lua."""
