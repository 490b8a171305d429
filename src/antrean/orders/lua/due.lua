-- Orders with a deadline, lane by lane: how many there are, and some of them, evenly spread, in the lane's order.
-- ARGV: now, score from which on orders have no deadline, most orders of one lane to show
-- Answer: {lane: office, or '' for stamps; how many have a deadline; {id, office, rank, deadline (ms), …}; …}
local _, without, most = unpack(ARGV)
local found = {}
local function look(name, key)
  local count = redis.call('ZCOUNT', key, '-inf', '(' .. without)
  if count == 0 then return end
  local step = math.max(1, count / tonumber(most))
  local rows = {}
  local at = 0
  while at < count do
    local rank = math.floor(at)
    local id = redis.call('ZRANGE', key, rank, rank)[1]
    local o = id and redis.call('HMGET', K.ORDER .. id, 'office', 'deadline')
    if o and o[2] and o[2] ~= '' then
      for _, value in ipairs({id, o[1], int(rank), o[2]}) do rows[#rows + 1] = value end
    end
    at = at + step
  end
  for _, value in ipairs({name, count, rows}) do found[#found + 1] = value end
end
for _, office in ipairs(redis.call('SMEMBERS', K.ACTIVE_OFFICES)) do look(office, K.LANE_BUY .. office) end
look('', K.LANE_STAMP)
return found
