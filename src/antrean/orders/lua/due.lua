-- Orders with a deadline, lane by lane: how many there are, and some of them, evenly spread, in the lane's order.
-- The server stands still for it, so with many offices there are fewer of each, though always the first.
-- ARGV: now, score from which on orders have no deadline, most orders of one lane to show, and about of all of them
-- Answer: {lane: office, or '' for stamps; how many have a deadline; {id, office, rank, deadline (ms), …}; …}
local _, without, most, most_of_all = unpack(ARGV)
local found = {}
local offices = redis.call('SMEMBERS', K.ACTIVE_OFFICES)
local each = math.max(1, math.min(tonumber(most), math.floor(tonumber(most_of_all) / (#offices + 1))))
local function look(name, key)
  local count = redis.call('ZCOUNT', key, '-inf', '(' .. without)
  if count == 0 then return end
  local step = math.max(1, count / each)
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
for _, office in ipairs(offices) do look(office, K.LANE_BUY .. office) end
look('', K.LANE_STAMP)
return found
