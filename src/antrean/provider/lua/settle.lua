-- Ends one call: gives its lease back and counts what it weighs. A second time with the same lease changes nothing.
-- ARGV: now, lease, epoch and step of its permit, weight (success|failure|refused|nothing), '1' when slow,
--       round trip (s), ms that the upstream asked all of us to wait, window (ms), limit at the start
-- Answer: {code, state, epoch, overridden, calls, failures, slow, refused in a row, failed in a row,
--          step, limit, baseline (s), ceiling, hold until (ms),
--          answers, sum of round trips (s), sum of their squares, done, errors, used, age of the step (ms), now (ms)}
--   code: counted · ignored (says nothing, settled before, or of an earlier epoch)
local _, lease, epoch, step, weight, slow, rtt, wait_ms, window_ms, start = unpack(ARGV)

local held = redis.call('ZREM', KEYS[6], lease)
redis.call('ZREM', KEYS[3], lease)
if held == 1 and tonumber(wait_ms) > 0 then
  local till = math.max(num(L, 'not_before'), NOW + tonumber(wait_ms))
  redis.call('HSET', KEYS[5], 'not_before', int(till))
end
if held == 0 or weight == 'nothing' or epoch ~= B.epoch then
  return {'ignored', EFFECTIVE, B.epoch, B.ov_state and '1' or '0'}
end

local failed = weight ~= 'success'
local bucket = int(math.floor(NOW / (tonumber(window_ms) / BUCKETS)))
local c, f, s = string.match(redis.call('HGET', KEYS[2], bucket) or '0 0 0', '(%d+) (%d+) (%d+)')
redis.call('HSET', KEYS[2], bucket, int(c + 1) .. ' ' .. int(f + (failed and 1 or 0)) .. ' ' .. int(s + tonumber(slow)))
local calls, failures, slow_calls = window(tonumber(window_ms))
set('refused', int(weight == 'refused' and num(B, 'refused') + 1 or 0))
set('failed', int(failed and num(B, 'failed') + 1 or 0))

local function add(field, by)
  L[field] = tostring(num(L, field) + by)
  redis.call('HSET', KEYS[5], field, L[field])
end
if not L.step_since then
  L.step_since = int(NOW)
  redis.call('HSET', KEYS[5], 'step_since', L.step_since)
end
if failed then
  if tonumber(step) >= num(L, 'cut_step') then add('errors', 1) end
else
  add('done', 1)
  if tonumber(step) == num(L, 'step') then
    add('answers', 1)
    add('rtt', tonumber(rtt))
    add('rtt2', tonumber(rtt) * tonumber(rtt))
  end
end

return {'counted', EFFECTIVE, B.epoch, B.ov_state and '1' or '0',
  int(calls), int(failures), int(slow_calls), B.refused, B.failed,
  int(num(L, 'step')), L.limit or start, L.baseline or '0', L.ceiling or '0', L.hold_until or '0',
  int(num(L, 'answers')), L.rtt or '0', L.rtt2 or '0', int(num(L, 'done')), int(num(L, 'errors')),
  int(num(L, 'used')), int(NOW - num(L, 'step_since')), int(NOW)}
