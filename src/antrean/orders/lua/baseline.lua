-- Remembers a balance of the account that our books explain.
-- ARGV: now, balance (stamps), SNs bought by our books when it was read
-- Answer: {OK}
redis.call('HSET', K.BALANCE, 'value', ARGV[2], 'base', ARGV[3], 'at', int(NOW))
return {CODE.OK}
