-- A person has explained the account's balance: the baseline is forgotten, and read anew at the next look.
-- ARGV: now, actor
-- Answer: {OK} · {ALREADY} (purchases were not held for it)
redis.call('HDEL', K.BALANCE, 'value', 'base', 'at')
if redis.call('HDEL', K.HOLDS, HOLD.BALANCE) == 0 then return {CODE.ALREADY} end
redis.pcall('PUBLISH', K.EVENTS, '* 0 hold')
return {CODE.OK}
