-- An order at its end needs its upload no longer; the last one to say so makes the upload unfindable.
-- ARGV: now, order id, document id
-- Answer: {OK, 1 where no order needs the upload}
local _, id, document = unpack(ARGV)
local key = K.DOCUMENT .. document
if redis.call('HSETNX', K.ORDER .. id, 'let_go', '1') == 1 and redis.call('EXISTS', key) == 1 then
  if redis.call('HINCRBY', key, 'uses', -1) <= 0 then redis.call('DEL', key) end
end
return {CODE.OK, redis.call('EXISTS', key) == 0 and 1 or 0}
