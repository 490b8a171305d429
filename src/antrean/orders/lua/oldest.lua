-- About how long the oldest open order has waited: looks at the first of every lane, the first without a deadline
-- (lanes are in order of deadline, then age) and the first of each other place, not at every order.
-- ARGV: now, score from which on orders have no deadline
-- Answer: {OK, time (ms) at which that order was accepted, or '' where nothing is open}
local found
local function see(ids)
  for _, id in ipairs(ids) do
    local made = tonumber(redis.call('HGET', K.ORDER .. id, 'made') or '')
    if made and (not found or made < found) then found = made end
  end
end
local function see_lane(key)
  see(redis.call('ZRANGE', key, 0, 0))
  see(redis.call('ZRANGEBYSCORE', key, ARGV[2], '+inf', 'LIMIT', 0, 1))
end
for _, office in ipairs(redis.call('SMEMBERS', K.ACTIVE_OFFICES)) do see_lane(K.LANE_BUY .. office) end
see_lane(K.LANE_FETCH)
see_lane(K.LANE_STAMP)
for _, key in ipairs({K.DISPATCHED, K.CLAIMS, K.LATER, K.UNKNOWN, K.ATTENTION}) do see(redis.call('ZRANGE', key, 0, 0)) end
return {CODE.OK, found and int(found) or ''}
