-- Changes the breaker's state, once for one epoch, unless an override holds it.
-- ARGV: now, epoch that the decision was made on, new state, reason, who, ms to the first probe when it opens,
--       probe interval (ms), limit at the start, ms of quiet after which openings count anew
-- Answer: {code, state, epoch}    code: moved · ignored
local _, epoch, to, reason, actor, open_ms, interval_ms, start, quiet_ms = unpack(ARGV)

if B.epoch ~= epoch or B.ov_state or B.state == to then return {'ignored', EFFECTIVE, B.epoch} end

local from = B.state
if to == 'open' then
  local tried = num(B, 'last_trial') >= num(B, 'since') -- else it was a probe that failed
  set('trials_failed', int(from == 'half_open' and num(B, 'trials_failed') + (tried and 1 or 0) or 0))
  local quiet = from == 'closed' and NOW - num(B, 'since') >= tonumber(quiet_ms)
  set('openings', int(quiet and 1 or num(B, 'openings') + 1))
  set('next_probe', int(math.max(NOW + tonumber(open_ms), num(B, 'last_probe') + tonumber(interval_ms))))
  if from == 'closed' then note_fall(start) end
  redis.call('HSET', KEYS[5], 'ceiling', tostring(not_below_fall(num(L, 'ceiling'))))
else
  -- Slow start: the upstream that comes back may be a smaller one, and what it asked for before is over.
  if fall_holds() then start = int(math.max(1, math.min(tonumber(start), num(L, 'fell_at') - 1))) end
  redis.call('HSET', KEYS[5], 'limit', start, 'baseline', '0', 'cut_until', '0', 'not_before', '0', 'background', '0',
    'known', '0', 'hold_until', fall_holds() and L.fall_until or '0')
  forget_refusals()
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
