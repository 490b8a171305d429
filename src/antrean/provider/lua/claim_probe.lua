-- Gives the one probe of an interval to whoever asks first.
-- An open breaker is probed when its time has come, a half-open one when nobody took a trial for an interval. After a
-- failed trial, what the probe asks is well, and only an order can show whether the rest is. So it waits six intervals for
-- an order; not for ever, since those who only ask questions are waiting too. Calls from before it opened that still hang
-- take the room of a trial, so the wait begins when they have ended (each has a timeout).
-- What the probe asks may be well while what the trials ask is not. So after a failed trial the probe asks what the trials
-- ask, and a trial follows once that is answered. Since that question alone may be broken, a trial follows all the same
-- after one such probe, and from the next time on after two: only a trial proves it.
-- ARGV: now, probe interval (ms)
-- Answer: {code, state, epoch}    code: granted · after_trial (granted, to ask what the trials ask) · ignored
local INSTEAD_MAX = 2
local interval = tonumber(ARGV[2])

redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', int(NOW))
redis.call('ZREMRANGEBYSCORE', KEYS[6], '-inf', int(NOW))
local ready = false
if B.state == 'half_open' and redis.call('ZCARD', KEYS[6]) > 0 then set('room_since', int(NOW)) end
if not B.ov_state and NOW >= num(B, 'last_probe') + interval then
  if B.state == 'open' then
    -- Whoever opened it may have had another interval: no probe is further away than one of ours.
    ready = NOW >= math.min(num(B, 'next_probe'), num(B, 'since') + interval)
  elseif B.state == 'half_open' then
    local patience = num(B, 'trials_failed') > 0 and 6 * interval or interval
    ready = NOW >= math.max(num(B, 'since'), num(B, 'last_trial'), num(B, 'room_since')) + patience
  end
end
if not ready then return {'ignored', EFFECTIVE, B.epoch} end
set('last_probe', int(NOW))
set('next_probe', int(NOW + interval))
local failed, instead = num(B, 'trials_failed'), num(B, 'probes_instead')
if failed > 0 and (B.state == 'half_open' or instead < math.min(failed, INSTEAD_MAX)) then
  set('probes_instead', int(instead + 1))
  return {'after_trial', EFFECTIVE, B.epoch}
end
return {'granted', EFFECTIVE, B.epoch}
