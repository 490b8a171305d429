-- An order at its end needs its upload no longer; the last one to say so makes the upload unfindable.
-- ARGV: now, order id, document id
-- Answer: {OK, 1 where no order needs the upload}
local _, id, document = unpack(ARGV)
local key = K.DOCUMENT .. document
-- An archived order has no record here to note it in.
local noted, field = K.ORDER .. id, 'let_go'
if redis.call('EXISTS', noted) == 0 then noted, field = key, 'let_go:' .. id end
if redis.call('EXISTS', key) == 1 and redis.call('HSETNX', noted, field, '1') == 1 then
  if redis.call('HINCRBY', key, 'uses', -1) <= 0 then redis.call('DEL', key) end
end
return {CODE.OK, redis.call('EXISTS', key) == 0 and 1 or 0}
