-- A field of a hash changes from what the caller has read to what it wants, or not at all.
-- ARGV: now, hash, field, what was read ('' for none), what shall be
-- Answer: {OK} · {STATE} somebody else was quicker · {RETIRED}
local _, hash, field, old, new = unpack(ARGV)
if (redis.call('HGET', hash, field) or '') ~= old then return {CODE.STATE} end
if hash == K.WEBHOOK_SECRETS and not key_noted(new, '') then return {CODE.RETIRED} end
redis.call('HSET', hash, field, new)
return {CODE.OK}
