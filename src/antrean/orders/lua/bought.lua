-- Generate answered with an SN: it is ours, booked, and its picture kept, in one step. The claim goes on for a purchase
-- (a picture may be missing); an affix gives it up and waits at the front for its stamp.
-- ARGV: now, id, fence, op, SN, upstream calls made, note, PNG or ''
-- Answer: {OK} · {ALREADY} · {SERIAL_TAKEN} that SN is another order's, nothing changed · {MISSING} · {STATE} · {FENCED}
local _, id, fence, op, sn, calls, note, png = unpack(ARGV)
local o = load(id)
if not o then return {CODE.MISSING} end
local code = check(o, 'bought', S.BOUGHT, fence, op)
if code ~= CODE.OK then return {code} end
sn = as_booked(sn)
local owner = redis.call('HGET', K.SERIAL_OWNER, sn)
local pooled = redis.call('HGET', K.POOL, sn) -- the order that it was made for
if (owner and string.match(owner, '^[^@]+') ~= id) or (pooled and pooled ~= id) then return {CODE.SERIAL_TAKEN} end
take_serial(o, sn, pooled and 'pool' or 'generate')
if png ~= '' then redis.call('SET', K.PICTURE .. sn, png) end
local set = {last = op, sn = sn, own = '1', calls = calls, err = ''}
if o.kind == 'purchase' then
  write(o, S.BOUGHT, note, set)
else
  redis.call('HSET', K.SERIAL_USE, sn, id)
  settle(o, S.BOUGHT, note, set)
end
return {CODE.OK}
