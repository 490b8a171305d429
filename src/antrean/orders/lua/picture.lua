-- Keeps the QR picture of an order's SN beside the order, from where the archive takes it.
-- ARGV: now, id, PNG
-- Answer: {OK} · {MISSING} the order is not here any more
local _, id, png = unpack(ARGV)
if redis.call('EXISTS', K.ORDER .. id) == 0 then return {CODE.MISSING} end
redis.call('SET', K.PICTURE .. id, png)
return {CODE.OK}
