-- Stops a kind of work for all, and says why.
-- ARGV: now, reason, text, actor
-- Answer: {OK} · {ALREADY}
local _, reason, text, actor = unpack(ARGV)
local hold = cjson.encode({since_ms = NOW, text = text, actor = actor})
if redis.call('HSETNX', K.HOLDS, reason, hold) == 0 then return {CODE.ALREADY} end
redis.pcall('PUBLISH', K.EVENTS, '* 0 hold')
return {CODE.OK}
