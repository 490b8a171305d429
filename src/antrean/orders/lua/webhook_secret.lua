-- An office's webhook secrets change from what the caller has read to what it wants, or not at all.
-- ARGV: now, office, what was read ('' for none), what shall be
-- Answer: {OK} · {STATE} somebody else was quicker
local _, office, old, new = unpack(ARGV)
if (redis.call('HGET', K.WEBHOOK_SECRETS, office) or '') ~= old then return {CODE.STATE} end
redis.call('HSET', K.WEBHOOK_SECRETS, office, new)
return {CODE.OK}
