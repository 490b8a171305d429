-- Gives a claimed order an SN that is ours already and belongs to no order.
-- ARGV: now, id, fence, op
-- Answer: {OK, SN} · {ALREADY, SN} · {POOL_EMPTY} · {MISSING} · {STATE} · {FENCED}
local _, id, fence, op = unpack(ARGV)
local o = load(id)
if not o then return {CODE.MISSING} end
local code = check(o, 'pool', S.BOUGHT, fence, op)
if code == CODE.ALREADY then written_again(o, op) end
if code ~= CODE.OK then return {code, o.sn} end
local sn = redis.call('HRANDFIELD', K.POOL)
if not sn then return {CODE.POOL_EMPTY} end
take_serial(o, sn, 'pool')
local set = {last = op, sn = sn, own = '1'}
if o.kind == 'purchase' then
  write(o, S.BOUGHT, 'an SN from the pool', set)
else
  redis.call('HSET', K.SERIAL_USE, sn, id)
  settle(o, S.BOUGHT, 'an SN from the pool', set)
end
return {CODE.OK, sn}
