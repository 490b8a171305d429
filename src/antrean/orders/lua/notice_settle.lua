-- What became of one try of a notice, and what that says of where it went.
-- ARGV: now, id, outcome: 'sent', 'failed' (tried in vain), 'put_off' (not tried) or 'dropped' (not tried, no more),
--       time of the next try (ms) or '' for none, why, office and host, time (ms) after which an address where all
--       fails is disabled, how many that were given up are kept, how many failing addresses are watched
-- Answer: {OK} · {MISSING} settled or dropped before; either with 1 where the address is disabled by this
local _, id, outcome, next_ms, why, endpoint, disable_ms, dead_max, endpoints_max = unpack(ARGV)
local newly = nil
if outcome == 'sent' then
  redis.call('HDEL', K.ENDPOINTS, endpoint)
elseif outcome == 'failed' then
  local text = redis.call('HGET', K.ENDPOINTS, endpoint)
  local e = text and cjson.decode(text) or {since = NOW, failures = 0}
  e.last, e.failures, e.why = NOW, e.failures + 1, why
  if not e.disabled and NOW - e.since >= tonumber(disable_ms) then
    e.disabled = NOW
    newly = 1
  end
  if text or redis.call('HLEN', K.ENDPOINTS) < tonumber(endpoints_max) then
    redis.call('HSET', K.ENDPOINTS, endpoint, cjson.encode(e))
  end
end
local text = redis.call('HGET', K.NOTICES, id)
if not text then return {CODE.MISSING, newly} end
if outcome == 'sent' then
  redis.call('HDEL', K.NOTICES, id)
  redis.call('ZREM', K.NOTICES_DUE, id)
  redis.call('ZREM', K.NOTICES_DEAD, id)
  return {CODE.OK}
end
if outcome ~= 'put_off' then
  local n = cjson.decode(text)
  n.why = why
  if outcome == 'failed' then n.tries = n.tries + 1 end
  redis.call('HSET', K.NOTICES, id, cjson.encode(n))
end
if next_ms ~= '' then
  redis.call('ZADD', K.NOTICES_DUE, next_ms, id)
else
  redis.call('ZREM', K.NOTICES_DUE, id)
  redis.call('ZADD', K.NOTICES_DEAD, int(NOW), id)
  for _, old in ipairs(redis.call('ZRANGE', K.NOTICES_DEAD, 0, -tonumber(dead_max) - 1)) do
    redis.call('ZREM', K.NOTICES_DEAD, old)
    redis.call('HDEL', K.NOTICES, old)
  end
end
return {CODE.OK, newly}
