-- Gives the one probe of an interval to whoever asks first.
-- An open breaker is probed when its time has come; a half-open one when nobody took a trial for an interval. Where the
-- last trial failed, what is probed is well and only an order can show whether the rest is, so it waits six times as
-- long for one; but not for ever, since those who only ask are waiting too.
-- ARGV: now, probe interval (ms)
-- Answer: {code, state, epoch}    code: granted · ignored
local interval = tonumber(ARGV[2])

redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', int(NOW))
local ready = false
if not B.ov_state and NOW >= num(B, 'last_probe') + interval then
  if B.state == 'open' then
    ready = NOW >= num(B, 'next_probe')
  elseif B.state == 'half_open' then
    local patience = B.trial_failed == '1' and 6 * interval or interval
    ready = redis.call('ZCARD', KEYS[3]) == 0
      and NOW >= math.max(num(B, 'since'), num(B, 'last_trial')) + patience
  end
end
if not ready then return {'ignored', EFFECTIVE, B.epoch} end
set('last_probe', int(NOW))
set('next_probe', int(NOW + interval))
return {'granted', EFFECTIVE, B.epoch}
