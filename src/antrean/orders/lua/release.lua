-- Gives a claim up: the order goes back to its lane, at once or not before a time.
-- ARGV: now, id, fence, op, note ('' leaves no trace where the state stays), upstream calls made, wait (ms), how many
--       of the calls do not count against the order (made before ops put it back, or that said nothing of it; 0: as before),
--       1 where a stamping that was begun may have been done
-- Answer: {OK, state} · {ALREADY, state} · {MISSING} · {STATE} · {FENCED}
local _, id, fence, op, note, calls, wait, forgiven, perhaps = unpack(ARGV)
local o = load(id)
if not o then return {CODE.MISSING} end
local target = o.state
if o.state == S.BUYING then target = S.QUEUED end
if o.state == S.STAMPING then target = o.own == '1' and S.BOUGHT or S.QUEUED end
local code = check(o, 'release', target, fence, op)
if code ~= CODE.OK then return {code, o.state} end
local not_before = NOW + tonumber(wait)
local set = {last = op, calls = calls}
if tonumber(forgiven) > 0 then set.forgiven = forgiven end
if o.state == S.STAMPING and perhaps == '1' then set.perhaps = '1' end
if target == o.state and note == '' then
  leave_all(o)
  set.owner = ''
  for name, value in pairs(set) do redis.call('HSET', o.key, name, value) end
  if not_before > NOW then redis.call('ZADD', K.LATER, int(not_before), id) else enter_lane(o, target) end
else
  settle(o, target, note, set, not_before)
end
return {CODE.OK, target}
