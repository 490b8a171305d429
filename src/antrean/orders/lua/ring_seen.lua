-- A gateway that seals with this key is alive.
-- ARGV: now, id of the key, the digest key sealed with it as the gateway found it at its start
-- Answer: {OK} · {RETIRED} that is not noted here: the key was retired, or what Redis kept is gone, whoever began anew since
local _, id, note = unpack(ARGV)
if redis.call('HGET', K.RING, id) ~= note then return {CODE.RETIRED} end
redis.call('HSET', K.RING_SEEN, id, int(NOW))
return {CODE.OK}
