-- Changes the breaker's state, once for one epoch, unless an override holds it.
-- ARGV: now, epoch that the decision was made on, new state, reason, who, ms to the first probe when it opens,
--       probe interval (ms), limit at the start, ms of quiet after which openings count anew
-- Answer: {code, state, epoch}    code: moved · ignored
local FALL_HOLD_MS, FALL_HOLD_MAX_MS = 10000, 40000

local _, epoch, to, reason, actor, open_ms, interval_ms, start, quiet_ms = unpack(ARGV)

if B.epoch ~= epoch or B.ov_state or B.state == to then return {'ignored', EFFECTIVE, B.epoch} end

local from = B.state
if to == 'open' then
  local tried = num(B, 'last_trial') >= num(B, 'since') -- else it was a probe that failed
  set('trials_failed', int(from == 'half_open' and num(B, 'trials_failed') + (tried and 1 or 0) or 0))
  local quiet = from == 'closed' and NOW - num(B, 'since') >= tonumber(quiet_ms)
  set('openings', int(quiet and 1 or num(B, 'openings') + 1))
  set('next_probe', int(math.max(NOW + tonumber(open_ms), num(B, 'last_probe') + tonumber(interval_ms))))
  -- Where it may have fallen over because all slots were in use, it is not asked for as much again for a while, and for
  -- twice as long each time that it falls over there again.
  local height, before, falls = num(L, 'fell_from'), num(L, 'fell_at'), num(L, 'falls')
  local again = math.abs(height - before) <= math.max(1, 0.15 * before)
  local holds = falls > 0 and NOW < num(L, 'hold_until')
  if from == 'closed' and height > 0 and (again or height > before or not holds) then
    falls = again and falls + 1 or 1
    local hold_ms = math.min(FALL_HOLD_MS * 2 ^ (falls - 1), FALL_HOLD_MAX_MS)
    redis.call('HSET', KEYS[5], 'ceiling', tostring(height), 'hold_until', int(NOW + hold_ms), 'falls', int(falls),
      'fell_at', tostring(height))
  elseif holds then
    redis.call('HSET', KEYS[5], 'ceiling', tostring(before)) -- it was not up yet: no fall of its own
  end
else
  -- Slow start: the upstream that comes back may be a smaller one, and what it asked for before is over.
  redis.call('HSET', KEYS[5], 'limit', start, 'baseline', '0', 'cut_until', '0', 'not_before', '0', 'background', '0',
    'known', '0')
end
set('probes_instead', '0')
set('state', to)
set('epoch', int(num(B, 'epoch') + 1))
set('since', int(NOW))
set('reason', reason)
set('refused', '0')
set('failed', '0')
set('turned_away', '0')
set('q_refused', '0')
set('q_failed', '0')
set('q_turned_away', '0')
-- What opened it is shown for as long as the window is; nothing is judged by it any more.
if to ~= 'open' then redis.call('DEL', KEYS[2]) end
redis.call('DEL', KEYS[3])
next_step_after_cut()
remember('move', from, to, reason, actor)
return {'moved', to, B.epoch}
