-- The picture of the SN is kept, or the stamped PDF is in the document store.
-- ARGV: now, id, fence, op, upstream calls made, sha256 of the stamped PDF or ''
-- Answer: {OK} · {ALREADY} · {MISSING} · {STATE} · {FENCED}
local _, id, fence, op, calls, sha256 = unpack(ARGV)
local o = load(id)
if not o then return {CODE.MISSING} end
local code = check(o, 'complete', S.COMPLETED, fence, op)
if code ~= CODE.OK then return {code} end
if o.kind == 'affix' then
  local owner = redis.call('HGET', K.SERIAL_OWNER, o.sn)
  -- An SN bought elsewhere was never in our books.
  if owner then book(o, 'bought_unused', 'stamped', o.sn, 'stamped') end
end
settle(o, S.COMPLETED, 'done', {last = op, calls = calls, sha = sha256, err = ''})
return {CODE.OK}
