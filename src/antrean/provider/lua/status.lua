-- What the breaker and its limit look like now. Writes nothing.
-- ARGV: now, window (ms), limit at the start
-- Answer: {state, epoch, since (ms), reason, calls, failures, slow, next probe (ms, 0: none),
--          override state or '', its reason, its actor, its end (ms), openings in a row,
--          limit, calls in flight, not before (ms), baseline (s), now (ms),
--          retry tokens ('': no call has earned any yet), retries made, retries refused for want of a token}
local calls, failures, slow = window(tonumber(ARGV[2]))
local next_probe = '0'
if B.state == 'open' and not B.ov_state then next_probe = B.next_probe or '0' end
return {EFFECTIVE, B.epoch, B.ov_state and B.ov_since or B.since, B.ov_state and B.ov_reason or B.reason,
  int(calls), int(failures), int(slow), next_probe,
  B.ov_state or '', B.ov_reason or '', B.ov_actor or '', B.ov_until or '0', int(num(B, 'openings')),
  L.limit or ARGV[3], int(redis.call('ZCOUNT', KEYS[6], '(' .. int(NOW), '+inf')), L.not_before or '0', L.baseline or '0', int(NOW),
  L.tokens or '', L.retries or '0', L.retries_refused or '0'}
