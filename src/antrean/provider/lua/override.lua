-- Forces the breaker, or lifts that; the history keeps who and why.
-- ARGV: now, state ('' lifts), reason, who, length (ms)
-- Answer: {code, state, epoch}    code: moved · ignored (nothing to lift)
local _, state, reason, actor, length_ms = unpack(ARGV)

if state == '' then
  if not B.ov_state then return {'ignored', EFFECTIVE, B.epoch} end
  -- Lifted without a reason, the history repeats why it was forced.
  remember('override_lifted', B.ov_state, B.state, reason ~= '' and reason or B.ov_reason, actor)
  drop_override()
  return {'moved', B.state, B.epoch}
end
remember('override', EFFECTIVE, state, reason, actor)
redis.call('HSET', KEYS[1], 'ov_state', state, 'ov_reason', reason, 'ov_actor', actor,
  'ov_until', int(NOW + tonumber(length_ms)), 'ov_since', int(NOW))
return {'moved', state, B.epoch}
