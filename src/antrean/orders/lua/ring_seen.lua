-- A gateway that seals with this key is alive.
-- ARGV: now, id of the key
-- Answer: {OK} · {RETIRED} the key is not noted here: it was retired, or what Redis kept is gone
if redis.call('HEXISTS', K.RING, ARGV[2]) == 0 then return {CODE.RETIRED} end
redis.call('HSET', K.RING_SEEN, ARGV[2], int(NOW))
return {CODE.OK}
