-- Takes orders from the lanes for handing to RQ, as the plan says, and keeps the fairness state of the plan.
-- ARGV: now, then pairs: lane ('fetch', 'stamp', the same as trials of a half-open breaker: 'trial:fetch', 'trial:stamp', or
--       'buy:<office>'), how many; last, where it is a new one: the fairness state as field, value, … preceded by the
--       word 'state'
-- Answer: {OK, id…}
local TRIAL_LOOK = 200 -- orders at the front of a lane among which trials go round
local TRIALS_MAX = 1000 -- of so many orders it is kept when they made one

-- The first of a lane, out of it.
local function take_first(key, want)
  local ids, popped = {}, redis.call('ZPOPMIN', key, want)
  for i = 1, #popped, 2 do ids[#ids + 1] = popped[i] end
  return ids
end

-- A trial may fail because of its order. If the first in line made every trial, a few orders whose stamping always fails
-- would keep the breaker from closing for all others. So the next is one that made none, or the one whose is the oldest.
local function next_trial(key)
  local best, oldest
  for _, id in ipairs(redis.call('ZRANGE', key, 0, TRIAL_LOOK - 1)) do
    local at = tonumber(redis.call('ZSCORE', K.TRIALS, id) or '-1')
    if not oldest or at < oldest then best, oldest = id, at end
    if at < 0 then break end
  end
  return best
end

local function take_trials(key, want)
  local ids = {}
  while #ids < want do
    local id = next_trial(key)
    if not id then break end
    redis.call('ZREM', key, id)
    redis.call('ZADD', K.TRIALS, int(NOW), id)
    ids[#ids + 1] = id
  end
  redis.call('ZREMRANGEBYRANK', K.TRIALS, 0, -TRIALS_MAX - 1)
  return ids
end

local taken = {CODE.OK}
local i = 2
while ARGV[i] and ARGV[i] ~= 'state' do
  local name, want = ARGV[i], tonumber(ARGV[i + 1])
  local trial = string.sub(name, 1, 6) == 'trial:'
  if trial then name = string.sub(name, 7) end
  local key
  if name == 'fetch' then key = K.LANE_FETCH
  elseif name == 'stamp' then key = K.LANE_STAMP
  else key = K.LANE_BUY .. string.sub(name, 5) end
  local got = (trial and take_trials or take_first)(key, want)
  for _, id in ipairs(got) do
    redis.call('ZADD', K.DISPATCHED, int(NOW), id)
    if name == 'stamp' then redis.call('SADD', K.STAMP_LOAD, id) end
    taken[#taken + 1] = id
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
