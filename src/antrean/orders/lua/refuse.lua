-- A final no from upstream (reject), or a case for a person (attend).
-- ARGV: now, id, fence, op, verb ('reject' or 'attend'), error code, error message, upstream calls made
-- Answer: {OK} · {ALREADY} · {MISSING} · {STATE} · {FENCED}
local _, id, fence, op, verb, err_code, err_message, calls = unpack(ARGV)
local o = load(id)
if not o then return {CODE.MISSING} end
local target = verb == 'reject' and S.REJECTED or S.ATTENTION
local code = check(o, verb, target, fence, op)
if code ~= CODE.OK then return {code} end
if verb == 'reject' and o.sn ~= '' then end_use(o) end
settle(o, target, err_code .. ': ' .. err_message,
  {last = op, calls = calls, err = err_code .. '\n' .. err_message})
return {CODE.OK}
