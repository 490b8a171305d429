-- All that the dispatcher, the backlog page and the counters' "how many are ahead" need, in one look.
-- ARGV: now, minutes ahead in which an order counts as urgent, less the minute from which scores count,
--       '0' where lanes of offices, weights and the fairness state are not asked for
-- Answer: {now, fetch lane size, stamp lane size, dispatched, claimed, of these two: to be stamped, later, unknown, attention,
--          holds (flat), fairness (flat), weights (flat), counts (flat), offices (flat: office, size, of these urgent, first score, …)}
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
return {int(NOW), redis.call('ZCARD', K.LANE_FETCH), redis.call('ZCARD', K.LANE_STAMP),
  redis.call('ZCARD', K.DISPATCHED), redis.call('ZCARD', K.CLAIMS), redis.call('SCARD', K.STAMP_LOAD),
  redis.call('ZCARD', K.LATER),
  redis.call('ZCARD', K.UNKNOWN), redis.call('ZCARD', K.ATTENTION),
  redis.call('HGETALL', K.HOLDS), all and redis.call('HGETALL', K.FAIRNESS) or {},
  all and redis.call('HGETALL', K.WEIGHTS) or {},
  redis.call('HGETALL', K.COUNTS), offices}
