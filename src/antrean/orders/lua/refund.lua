-- Ops give the citizen's money back, once, for an order that came to nothing.
-- ARGV: now, id, note with who and why
-- Answer: {OK, account the money came from} · {REFUNDED} · {MISSING} · {STATE} · {SERIAL_TAKEN} its SN is used by another
local _, id, note = unpack(ARGV)
local o = load(id)
if not o then return {CODE.MISSING} end
if o.refunded == '1' then return {CODE.REFUNDED} end
-- An order that brought its own SN paid nothing here.
if o.given == '1' or (o.state ~= S.REJECTED and o.state ~= S.ATTENTION) then return {CODE.STATE} end
local from = o.own == '1' and 'bought_unused' or 'held'
if o.own == '1' and not block_serial(o) then return {CODE.SERIAL_TAKEN} end
local set = {refunded = '1', fence = int(tonumber(o.fence) + 1), last = ''}
if o.state == S.ATTENTION then
  local code = check(o, 'refund', S.CANCELLED, '', '')
  if code ~= CODE.OK then return {code} end
  book(o, from, 'refunded', o.sn, note)
  settle(o, S.CANCELLED, note, set)
else
  book(o, from, 'refunded', o.sn, note)
  write(o, o.state, note, set)
end
return {CODE.OK, from}
