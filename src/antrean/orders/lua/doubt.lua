-- Generate was sent and no answer could be read: the resolver asks, nobody repeats.
-- ARGV: now, id, fence, op, note, upstream calls made
-- Answer: {OK} · {ALREADY} · {MISSING} · {STATE} · {FENCED}
local _, id, fence, op, note, calls = unpack(ARGV)
local o = load(id)
if not o then return {CODE.MISSING} end
local code = check(o, 'doubt', S.UNKNOWN, fence, op)
if code ~= CODE.OK then return {code} end
settle(o, S.UNKNOWN, note, {last = op, calls = calls})
return {CODE.OK}
