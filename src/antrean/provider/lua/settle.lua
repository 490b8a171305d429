-- Ends one call: gives its lease back and counts the call. A second time with the same lease changes nothing.
-- A call that failed at once keeps its slot for as long as a good answer takes: otherwise instant errors would free slots
-- so quickly that the limit bounded nothing. The first "too busy" tells how many calls in flight were not too many: that is
-- the limit from now on, without waiting for the step to be judged. Each further "too busy" in a row keeps its slot for
-- longer: a server that has fallen over must not be asked as fast as it refuses.
-- ARGV: now, lease, epoch and step of its permit, weight (success|failure|refused|nothing), '1' when slow,
--       round trip (s; below 0: a question, whose time says nothing of the orders' calls), ms that the upstream asked
--       all of us to wait, window (ms), limit at the start, '1' for "too busy", '1' for an order's call (else
--       a free question)
-- Answer: {code, state, epoch, overridden, calls, failures, slow, refused in a row, failed in a row, those of them turned away,
--          ms since a good answer,
--          step, limit, baseline (s), ceiling, hold until (ms), background of errors, answers behind the baseline,
--          usual share of refusals, answers, sum of round trips (s), sum of their squares, done, errors, refusals, used, age of the step (ms), now (ms)}
--   code: counted · ignored (says nothing, settled before, or of an earlier epoch)
local BUSY_TIMES_MAX = 4 -- a slot is kept for at most this many times a good answer's time
local FALL_ROW = 5 -- this many failures of orders' calls in a row, with no good answer for RULE.SILENCE times its usual time, are a fall
local ONE_FALL_MS = 3000 -- rows of failures that begin closer to each other than this are one fall

local _, lease, epoch, step, weight, slow, rtt, wait_ms, window_ms, start, busy, order = unpack(ARGV)

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
local timed = tonumber(rtt) >= 0
local others = redis.call('ZCARD', KEYS[6])
local bucket = int(math.floor(NOW / (tonumber(window_ms) / BUCKETS)))
local seen = counts(redis.call('HGET', KEYS[2], bucket))
for place, more in ipairs({1, failed and 1 or 0, tonumber(slow)}) do
  local at = order == '1' and place or place + 3
  seen[at] = seen[at] + more
end
for place, count in ipairs(seen) do seen[place] = int(count) end
redis.call('HSET', KEYS[2], bucket, table.concat(seen, ' '))
local calls, failures, slow_calls = window(tonumber(window_ms))

-- A free question that is answered ends no row of orders' calls that failed; an order's call that is answered ends both.
local function in_a_row(field, goes_on, by)
  local mine = order == '1' and field or 'q_' .. field
  for _, each in ipairs({field, 'q_' .. field}) do
    local count = num(B, each)
    if goes_on and each == mine then
      count = count + by
    elseif not goes_on and (each == mine or order == '1') then
      count = 0
    end
    if int(num(B, each)) ~= int(count) then set(each, int(count)) end
  end
  return num(B, field) + num(B, 'q_' .. field)
end
local refused_row = in_a_row('refused', weight == 'refused', 1)
local failed_row = in_a_row('failed', failed, 1)
local turned_away_row = in_a_row('turned_away', failed, busy == '1' and 1 or 0)
if not failed and (order == '1' or num(B, 'failed') == 0) then set('good_at', int(NOW)) end

if failed and timed then
  local places = busy == '1' and math.min(2 ^ (turned_away_row - 1), BUSY_TIMES_MAX) or 1
  local keep_ms = math.min(1000 * (places * num(L, 'baseline') - tonumber(rtt)), LEASE_MAX_MS)
  if keep_ms > 0 then redis.call('ZADD', KEYS[6], int(NOW + keep_ms), 'after:' .. lease) end
end

if not L.step_since then put('step_since', int(NOW)) end

local limit = tonumber(L.limit or start)
if (not failed or timed or busy == '1') and cut_for_refusals(limit, step, busy == '1', turned_away_row) then
  forget('all_calls', 'all_busy')
  put('ceiling', not_below_fall(limit))
  put('limit', math.max(1, RULE.REFUSED_CUT * limit))
  put('hold_until', int(math.max(num(L, 'hold_until'), NOW + RULE.HOLD_FIRST_MS)))
  next_step_after_cut()
end
local refusals = usual_refusals()

if failed then
  -- A free question that fails says nothing about how many orders the upstream bears, unless it is told "too busy".
  if (timed or busy == '1') and tonumber(step) >= num(L, 'cut_step') then add(busy == '1' and 'busy' or 'errors', 1) end
  if busy == '1' then redis.call('HSET', KEYS[5], 'busy_at', int(NOW)) end
  if order == '1' and num(B, 'failed') == 1 then
    -- If this row opens the breaker, this is the height that it fell from; 0 where slots were free or nobody listens at all,
    -- since neither is a sign of load. Calls on their way may still be answered, and then the row begins again.
    local from = weight ~= 'refused' and others + 1 >= RULE.USED_UP * math.floor(limit) and limit or 0
    if NOW - num(L, 'fell_seen') < ONE_FALL_MS then from = math.max(from, num(L, 'fell_from')) end
    L.fell_from = tostring(from)
    redis.call('HSET', KEYS[5], 'fell_from', L.fell_from, 'fell_seen', int(NOW))
  end
  if busy == '1' and refusals == 0 and others < limit and NOW >= num(L, 'cut_until') then
    local asked_ms, held_back = tonumber(wait_ms), NOW < num(L, 'hold_until')
    local at_ceiling = limit >= RULE.NEAR * num(L, 'ceiling')
    -- Close to a ceiling, the limit just below it was borne before: a moment with fewer calls in flight proves nothing.
    if at_ceiling then others = math.max(others, math.min(limit, num(L, 'ceiling')) - 1) end
    -- A pause that is asked for below the ceiling says that less is borne by now.
    if asked_ms > 0 and held_back then others = math.min(others, math.floor(RULE.ASKED_CUT * limit)) end
    L.cut_until = int(NOW + RULE.HOLD_FIRST_MS)
    local hold_until = math.max(num(L, 'hold_until'), num(L, 'cut_until'))
    if at_ceiling and not held_back and num(L, 'ceiling') > 0 then
      -- Refused where it was refused before: this is where the capacity ends, and each look costs all calls a pause.
      hold_until = math.max(hold_until, NOW + asked_ms + math.min(RULE.HOLD_ASKED_TIMES * asked_ms, RULE.HOLD_ASKED_MAX_MS))
    end
    L.limit = tostring(math.max(1, others))
    -- Where the limit was hardly used, one refusal says little about where the capacity ends.
    L.ceiling = tostring(not_below_fall(math.min(limit, math.max(others + 1, 0.8 * limit))))
    L.hold_until = int(hold_until)
    redis.call('HSET', KEYS[5], 'limit', L.limit, 'ceiling', L.ceiling, 'hold_until', L.hold_until, 'cut_until', L.cut_until)
    next_step_after_cut()
  end
  local silent_ms = NOW - num(B, 'good_at')
  -- A pause that was asked for is no silence of the upstream's: nobody called meanwhile.
  local fell = num(B, 'failed') >= FALL_ROW and silent_ms >= RULE.SILENCE * 1000 * num(L, 'baseline')
  if fell and tonumber(wait_ms) == 0 then note_fall(start) end
else
  if order == '1' and L.fall_noted == '1' then redis.call('HDEL', KEYS[5], 'fall_noted') end
  add('done', 1)
  if timed and tonumber(step) == num(L, 'step') then
    add('answers', 1)
    add('rtt', tonumber(rtt))
    add('rtt2', tonumber(rtt) * tonumber(rtt))
  end
end

return {'counted', EFFECTIVE, B.epoch, B.ov_state and '1' or '0',
  int(calls), int(failures), int(slow_calls), int(refused_row), int(failed_row), int(turned_away_row), int(NOW - num(B, 'good_at')),
  int(num(L, 'step')), L.limit or start, L.baseline or '0', L.ceiling or '0', L.hold_until or '0', L.background or '0', L.known or '0', tostring(refusals),
  int(num(L, 'answers')), L.rtt or '0', L.rtt2 or '0', int(num(L, 'done')), int(num(L, 'errors')), int(num(L, 'busy')),
  int(num(L, 'used')), int(NOW - num(L, 'step_since')), int(NOW)}
