-- Lets one call through the breaker and into the limit, or says why not; grants nothing in part.
-- ARGV: now, lease, lease length (ms), trials at once when half-open, limit at the start,
--       '1' for a repetition of a call, retry tokens earned by a call, most retry tokens, '1' for an order's call (a
--       free question is never a trial: a server may answer questions and still sell nothing)
-- Answer: {code, state, epoch, step, ms to wait, reason}
--   code: granted · trial (granted as a half-open trial) · open · trials_taken · later (Retry-After) · full · no_budget
--   ms to wait: until the call may begin (granted), until it may be asked for (open, later)
local _, lease, lease_ms, trials_max, start, is_retry, earned, tokens_max, order = unpack(ARGV)

local TURN = 0.95 -- share of the even distance between two calls that is kept; the whole of it would slow all calls down
local AHEAD = 0.05 -- a call may start early by this share of an answer's time: that is even enough
local TURN_MAX_MS = 200 -- the longest wait for an even start

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
if trial then return answer('trial') end

-- Calls that start together end together, and then their slots start together again. An upstream that counts calls per
-- second finds five such bursts in one second and four in another, and turns calls away at a pace that it could bear.
if order ~= '1' or NOW - num(L, 'busy_at') >= RULE.EVEN_FOR_MS then return answer('granted') end
local answer_ms = 1000 * num(L, 'baseline')
local turn = math.max(NOW, math.min(num(L, 'next_turn'), NOW + TURN_MAX_MS))
redis.call('HSET', KEYS[5], 'next_turn', string.format('%.2f', turn + TURN * answer_ms / limit))
return answer('granted', math.max(0, math.floor(turn - NOW - AHEAD * answer_ms)))
