-- From now on nothing is sealed with these keys. Not while a gateway does.
-- ARGV: now, id of the key that stays, ms after which a gateway that said nothing is gone, '1' only to look, ids of the keys
-- Answer: {OK} · {STATE, the key that a gateway sealed with last, ms since it said so} · {RETIRED} no gateway seals with the
--         key that is to stay
local _, stays, silent, look = unpack(ARGV)
if redis.call('HEXISTS', K.RING, stays) == 0 then return {CODE.RETIRED} end
local latest, since = nil, tonumber(silent)
for i = 5, #ARGV do
  local silence = NOW - tonumber(redis.call('HGET', K.RING_SEEN, ARGV[i]) or '0')
  if silence < 0 then -- the clock was set back since: it counts from now
    redis.call('HSET', K.RING_SEEN, ARGV[i], int(NOW))
    silence = 0
  end
  if silence < since then
    latest, since = ARGV[i], silence
  end
end
if latest then return {CODE.STATE, latest, int(since)} end
if look == '1' then return {CODE.OK} end
for i = 5, #ARGV do
  redis.call('HDEL', K.RING, ARGV[i])
  redis.call('HDEL', K.RING_SEEN, ARGV[i])
  redis.call('SADD', K.RING_RETIRED, ARGV[i])
end
return {CODE.OK}
