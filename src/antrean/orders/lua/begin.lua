-- The intent, on disk before an order call leaves: to generate (queued → buying) or to stamp (→ stamping).
-- ARGV: now, id, fence, op, target state, note, upstream calls made so far
-- Answer: {OK, retry flag: 1 where this order was sent to be stamped before} · {ALREADY, 1} · {MISSING} · {STATE} · {FENCED}
local _, id, fence, op, target, note, calls = unpack(ARGV)
local o = load(id)
if not o then return {CODE.MISSING} end
local code = check(o, 'begin', target, fence, op)
if code == CODE.ALREADY then written_again(o, op) end
if code ~= CODE.OK then return {code, 1} end
local again = redis.call('HGET', o.key, 'tried') and 1 or 0
local set = {last = op, calls = calls}
if target == S.STAMPING then set.tried = '1' end
if target == S.BUYING then
  local b = redis.call('HMGET', K.BALANCE, 'value', 'at')
  set.intent = int(NOW) .. '|' .. (b[1] or '') .. '|' .. (b[2] or '')
end
write(o, target, note, set)
return {CODE.OK, again}
