-- The intent, on disk before an order call leaves: to generate (queued → buying) or to stamp (→ stamping).
-- ARGV: now, id, fence, op, target state, note, upstream calls made so far, sorted set of permits, permit: where one is
--       named nothing is done unless it is there (both empty: the caller holds it)
-- Answer: {OK} · {ALREADY} · {MISSING} · {STATE} · {FENCED} · {NO_PERMIT} · {HELD} (purchases were stopped meanwhile)
local _, id, fence, op, target, note, calls, permits, permit = unpack(ARGV)
if permit ~= '' and not redis.call('ZSCORE', permits, permit) then return {CODE.NO_PERMIT} end
local o = load(id)
if not o then return {CODE.MISSING} end
local code = check(o, 'begin', target, fence, op)
if code == CODE.ALREADY then written_again(o, op) end
if code ~= CODE.OK then return {code} end
-- An order may have waited for a slot since its claim. (Code 93 needs no look: the upstream sells nothing then.)
if target == S.BUYING and
  (redis.call('HEXISTS', K.HOLDS, HOLD.PAUSED) == 1 or redis.call('HEXISTS', K.HOLDS, HOLD.BALANCE) == 1) then
  return {CODE.HELD}
end
local set = {last = op, calls = calls}
if target == S.STAMPING then set.tried = '1' end
write(o, target, note, set)
return {CODE.OK}
