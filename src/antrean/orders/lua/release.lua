-- Gives a claim up: the order goes back to its lane, at once or not before a time.
-- ARGV: now, id, fence, op, note ('' leaves no trace where the state stays), upstream calls made, wait (ms)
-- Answer: {OK, state} · {ALREADY, state} · {MISSING} · {STATE} · {FENCED}
local _, id, fence, op, note, calls, wait = unpack(ARGV)
local o = load(id)
if not o then return {CODE.MISSING} end
local target = o.state
if o.state == S.BUYING then target = S.QUEUED end
if o.state == S.STAMPING then target = o.own == '1' and S.BOUGHT or S.QUEUED end
local code = check(o, 'release', target, fence, op)
if code ~= CODE.OK then return {code, o.state} end
local not_before = NOW + tonumber(wait)
if target == o.state and note == '' then
  leave_all(o)
  redis.call('HSET', o.key, 'owner', '', 'last', op, 'calls', calls)
  if not_before > NOW then redis.call('ZADD', K.LATER, int(not_before), id) else enter_lane(o, target) end
else
  settle(o, target, note, {last = op, calls = calls}, not_before)
end
return {CODE.OK, target}
