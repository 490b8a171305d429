-- Ends an unknown outcome without an SN: provably absent, or over to a person.
-- ARGV: now, id, verb ('absent' or 'escalate'), error code, note or evidence, since when it is unknown as the one saw it
--       who judged (ms): unknown again since then, it is another question
-- Answer: {OK} · {MISSING} · {STATE}
local _, id, verb, err_code, note, since = unpack(ARGV)
local o = load(id)
if not o then return {CODE.MISSING} end
if tonumber(redis.call('ZSCORE', K.UNKNOWN, id) or '-1') ~= tonumber(since) then return {CODE.STATE} end
local target = verb == 'absent' and S.QUEUED or S.ATTENTION
local code = check(o, verb, target, '', '')
if code ~= CODE.OK then return {code} end
local set = {fence = int(tonumber(o.fence) + 1), last = ''}
if verb == 'escalate' then set.err = err_code .. '\n' .. note end
settle(o, target, note, set)
return {CODE.OK}
