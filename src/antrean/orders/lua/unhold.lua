-- Lifts a hold.
-- ARGV: now, reason, actor
-- Answer: {OK} · {ALREADY} (it was not on)
if redis.call('HDEL', K.HOLDS, ARGV[2]) == 0 then return {CODE.ALREADY} end
redis.pcall('PUBLISH', K.EVENTS, '* 0 hold')
return {CODE.OK}
