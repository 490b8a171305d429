-- Keeps the QR picture of an order's SN as long as the order is here; the archive takes it from there.
-- ARGV: now, id, SN, PNG
-- Answer: {OK} · {MISSING} the order is not here any more · {STATE} it has another SN now, or was erased
local _, id, sn, png = unpack(ARGV)
local o = load(id)
if not o then return {CODE.MISSING} end
if o.sn ~= sn or redis.call('HEXISTS', o.key, 'erased') == 1 then return {CODE.STATE} end
redis.call('SET', K.PICTURE .. sn, png)
return {CODE.OK}
