-- Takes orders from the lanes for handing to RQ, as the plan says, and keeps the fairness state of the plan.
-- ARGV: now, then pairs: lane ('fetch', 'stamp' or 'buy:<office>'), how many; last, where it is a new one: the fairness
--       state as field, value, … preceded by the word 'state'
-- Answer: {OK, id…}
local taken = {CODE.OK}
local i = 2
while ARGV[i] and ARGV[i] ~= 'state' do
  local name, want = ARGV[i], tonumber(ARGV[i + 1])
  local key
  if name == 'fetch' then key = K.LANE_FETCH
  elseif name == 'stamp' then key = K.LANE_STAMP
  else key = K.LANE_BUY .. string.sub(name, 5) end
  local got = redis.call('ZPOPMIN', key, want)
  for j = 1, #got, 2 do
    redis.call('ZADD', K.DISPATCHED, int(NOW), got[j])
    if name == 'stamp' then redis.call('SADD', K.STAMP_LOAD, got[j]) end
    taken[#taken + 1] = got[j]
  end
  if string.sub(name, 1, 4) == 'buy:' then
    if redis.call('ZCARD', key) == 0 then redis.call('SREM', K.ACTIVE_OFFICES, string.sub(name, 5)) end
    -- With this hold on one is taken on purpose, to see whether it can be bought again.
    if got[1] and redis.call('HEXISTS', K.HOLDS, HOLD.QUOTA) == 1 then
      redis.call('SET', K.QUOTA_TRIAL, got[1], 'EX', 600)
    end
  end
  i = i + 2
end
if ARGV[i] == 'state' then
  redis.call('DEL', K.FAIRNESS)
  -- Lua unpacks no more than some thousands at once.
  for from = i + 1, #ARGV, 1000 do
    redis.call('HSET', K.FAIRNESS, unpack(ARGV, from, math.min(from + 999, #ARGV)))
  end
end
return taken
