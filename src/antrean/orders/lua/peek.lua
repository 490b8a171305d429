-- All that the dispatcher, the backlog page and the counters' "how many are ahead" need, in one look.
-- ARGV: now, minutes ahead in which an order counts as urgent, less the minute from which scores count,
--       '0' where lanes of offices, weights and the fairness state are not asked for, ms of silence from which on a worker
--       may be dead, ms of silence from which on it is dead
-- Answer: {now, fetch lane size, stamp lane size, dispatched, claimed, of these two: to be stamped, of the claimed ones: in the
--          hands of a worker that may be dead, of these: to be stamped, later, unknown, holds (flat), fairness (flat), weights
--          (flat), counts (flat), offices (flat: office, size, of these urgent, first score, …)}
local STRANDED_LOOK = 500 -- claims that are looked at; the oldest

local urgent_until = '(' .. int((math.floor(NOW / 60000) + tonumber(ARGV[2]) + 1) * SCORE.MINUTE)
local offices = {}
local all = ARGV[3] ~= '0'
for _, office in ipairs(all and redis.call('SMEMBERS', K.ACTIVE_OFFICES) or {}) do
  local key = K.LANE_BUY .. office
  local head = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
  if head[1] then
    offices[#offices + 1] = office
    offices[#offices + 1] = redis.call('ZCARD', key)
    offices[#offices + 1] = redis.call('ZCOUNT', key, '-inf', urgent_until)
    offices[#offices + 1] = head[2]
  end
end

-- Orders in the hands of workers that went silent. They take no part in what goes on until the sweeper puts them back, and
-- others may take their place meanwhile. Whose they are is asked only while there is such a worker.
local function stranded()
  local all_of_them, stamps, quiet = 0, 0, {}
  -- Up to twice that silence: by then the sweeper has put back what they held.
  local since, till = int(NOW - 2 * tonumber(ARGV[5])), int(NOW - tonumber(ARGV[4]))
  -- Where nobody beat, it was Redis or the host that stood still.
  if redis.call('ZCOUNT', K.WORKERS, '(' .. till, '+inf') == 0 then return 0, 0 end
  for _, worker in ipairs(redis.call('ZRANGEBYSCORE', K.WORKERS, since, till)) do quiet[worker] = true end
  if not next(quiet) then return 0, 0 end
  for _, id in ipairs(redis.call('ZRANGE', K.CLAIMS, 0, STRANDED_LOOK - 1)) do
    if quiet[redis.call('HGET', K.ORDER .. id, 'owner')] then
      all_of_them = all_of_them + 1
      stamps = stamps + redis.call('SISMEMBER', K.STAMP_LOAD, id)
    end
  end
  return all_of_them, stamps
end

local lost, lost_stamps = stranded()
return {int(NOW), redis.call('ZCARD', K.LANE_FETCH), redis.call('ZCARD', K.LANE_STAMP),
  redis.call('ZCARD', K.DISPATCHED), redis.call('ZCARD', K.CLAIMS), redis.call('SCARD', K.STAMP_LOAD),
  lost, lost_stamps, redis.call('ZCARD', K.LATER), redis.call('ZCARD', K.UNKNOWN),
  redis.call('HGETALL', K.HOLDS), all and redis.call('HGETALL', K.FAIRNESS) or {},
  all and redis.call('HGETALL', K.WEIGHTS) or {},
  redis.call('HGETALL', K.COUNTS), offices}
