-- Lets one call through the breaker and into the limit, or says why not; grants nothing in part.
-- ARGV: now, lease, lease length (ms), trials at once when half-open, limit at the start,
--       '1' for a repetition of a call, retry tokens earned by a call, most retry tokens, '1' for an order's call (a
--       free question is no trial: a server may answer it and still do nothing)
-- Answer: {code, state, epoch, step, ms to wait, reason}
--   code: granted · trial (granted as a half-open trial) · open · trials_taken · later (Retry-After) · full · no_budget
local _, lease, lease_ms, trials_max, start, is_retry, earned, tokens_max, order = unpack(ARGV)

local function answer(code, wait_ms)
  return {code, EFFECTIVE, B.epoch, int(num(L, 'step')), int(wait_ms or 0), B.ov_reason or B.reason}
end

if EFFECTIVE == 'open' then
  return answer('open', math.max(0, num(B, 'next_probe') - NOW))
end

redis.call('ZREMRANGEBYSCORE', KEYS[6], '-inf', int(NOW))
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', int(NOW))
if redis.call('ZSCORE', KEYS[6], lease) then
  return answer(redis.call('ZSCORE', KEYS[3], lease) and 'trial' or 'granted')
end

local trial = EFFECTIVE == 'half_open'
if trial and (order ~= '1' or redis.call('ZCARD', KEYS[3]) >= tonumber(trials_max)) then
  return answer('trials_taken')
end
if num(L, 'not_before') > NOW then return answer('later', num(L, 'not_before') - NOW) end

local limit = math.max(1, math.floor(tonumber(L.limit or start)))
local in_flight = redis.call('ZCARD', KEYS[6])
if in_flight >= limit then
  if in_flight > num(L, 'used') then redis.call('HSET', KEYS[5], 'used', int(in_flight)) end
  return answer('full')
end

local tokens = num(L, 'tokens')
if is_retry == '1' then
  if tokens < 1 then
    redis.call('HINCRBY', KEYS[5], 'retries_refused', 1)
    return answer('no_budget')
  end
  tokens = tokens - 1
  redis.call('HINCRBY', KEYS[5], 'retries', 1)
else
  tokens = math.min(tonumber(tokens_max), tokens + tonumber(earned))
end

local ends = int(NOW + tonumber(lease_ms))
redis.call('ZADD', KEYS[6], ends, lease)
if trial then
  redis.call('ZADD', KEYS[3], ends, lease)
  set('last_trial', int(NOW))
end
redis.call('HSET', KEYS[5], 'tokens', tostring(tokens),
  'used', int(math.max(num(L, 'used'), in_flight + 1)))
return answer(trial and 'trial' or 'granted')
