-- An SN that is on the account and that nobody has recorded: for its order, else for the pool.
-- ARGV: now, id, SN, note, '1' where it was seen in the account's list (an order being bought may show there early),
--       '1' where it was stamped already, so that no other order can use it, '1' where its order is in the archive and
--       ended without this SN
-- Answer: {OK} the order has it · {ALREADY} known before · {POOL_EMPTY} no order wants it, it is in the pool now ·
--         {STATE} the order is being worked on, ask again later · {MISSING} good for no other order: it was stamped, or somebody
--         gave it with an affix, or we do not know its order, whose citizen may have it in hand
local _, id, sn, note, walk, used, ended = unpack(ARGV)
sn = as_booked(sn)
if redis.call('HEXISTS', K.SERIAL_OWNER, sn) == 1 then return {CODE.ALREADY} end
local user = redis.call('HGET', K.SERIAL_USE, sn)
if user and user ~= id then return {CODE.MISSING} end
local o = load(id)
if o and walk == '1' and (o.state == S.BUYING or o.owner ~= '') then return {CODE.STATE} end
if o and o.sn == '' and o.owner == '' and check(o, 'found', S.BOUGHT, '', '') == CODE.OK then
  take_serial(o, sn, redis.call('HEXISTS', K.POOL, sn) == 1 and 'pool' or 'found')
  if o.kind == 'affix' then redis.call('HSET', K.SERIAL_USE, sn, id) end
  local set = {sn = sn, own = '1', err = '', fence = int(tonumber(o.fence) + 1), last = ''}
  if used == '1' then set.tried = '1' end
  settle(o, S.BOUGHT, note, set)
  return {CODE.OK}
end
if used == '1' or not (o or ended == '1') then return {CODE.MISSING} end
if redis.call('HSETNX', K.POOL, sn, id) == 0 then return {CODE.ALREADY} end
redis.call('HINCRBY', K.BALANCE, 'bought', 1)
return {CODE.POOL_EMPTY}
