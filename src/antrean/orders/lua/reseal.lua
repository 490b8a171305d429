-- Who pays, sealed with another key; nothing where it was erased or sealed anew meanwhile.
-- ARGV: now, id, what is sealed now ('' where it is in clear), the same sealed anew, body
-- Answer: {OK} · {STATE} · {RETIRED}
local _, id, old, new, body = unpack(ARGV)
if not key_noted(new, '') then return {CODE.RETIRED} end
local key = K.ORDER .. id
if redis.call('HEXISTS', key, 'erased') == 1 or (redis.call('HGET', key, 'pii') or '') ~= old then return {CODE.STATE} end
if redis.call('EXISTS', key) == 0 then return {CODE.STATE} end
redis.call('HSET', key, 'pii', new, 'body', body)
return {CODE.OK}
