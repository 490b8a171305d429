-- Moves orders of one waiting place from one deadline to another; call again while it looks at as many as it may.
-- ARGV: now, place: the name of a zset of order ids, from (ms), until (ms, not included), new deadline (ms),
--       its score minute, office or '', least and greatest lane score to look at, how many to pass over, most at a time,
--       note
-- Answer: {OK, orders moved, orders looked at}
local _, place, from, till, deadline, minute, office, low, high, skip, most, note = unpack(ARGV)
local moved = 0
local ids
if string.sub(place, 1, string.len(K.LANE_BUY)) == K.LANE_BUY or place == K.LANE_STAMP or place == K.LANE_FETCH then
  ids = redis.call('ZRANGEBYSCORE', place, low, high, 'LIMIT', skip, most)
else
  ids = redis.call('ZRANGE', place, skip, skip + most - 1)
end
for _, id in ipairs(ids) do
  local o = load(id)
  local due = o and tonumber(redis.call('HGET', o.key, 'deadline') or '')
  local wanted = due and due >= tonumber(from) and due < tonumber(till) and due ~= tonumber(deadline)
  if wanted and (office == '' or office == o.office) then
    local score = int(tonumber(minute) * SCORE.MINUTE + tonumber(o.score) % SCORE.MINUTE)
    o.score = score
    write(o, o.state, note, {deadline = deadline, score = score})
    if redis.call('ZSCORE', place, id) and lane(o, o.state) == place then redis.call('ZADD', place, score, id) end
    moved = moved + 1
  end
end
return {CODE.OK, moved, #ids}
