-- Puts back what has lost its job, its worker or its claim, and what has waited out its time.
-- ARGV: now, worker lease (ms), longest claim (ms), longest dispatch without a claim (ms), most to move at a time,
--       then the ids of jobs that RQ still has
-- Answer: {OK, claims expired, dispatched orders restored, orders whose wait is over}
local lease, claim_max, dispatch_max, most = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local expired, restored, due = 0, 0, 0
local LATER_MAX = 120000 -- ms; longer than any wait that a worker asks for

-- Where the server's clock was set back, what is dated after now would stand still until then: it counts from now.
local function not_after(key, latest)
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', key, '(' .. int(latest), '+inf', 'LIMIT', 0, most)) do
    redis.call('ZADD', key, int(NOW), member)
  end
end
not_after(K.WORKERS, NOW)
not_after(K.CLAIMS, NOW)
not_after(K.DISPATCHED, NOW)
not_after(K.LATER, NOW + LATER_MAX)

for _, dead in ipairs(redis.call('ZRANGEBYSCORE', K.WORKERS, '-inf', int(NOW - 600000), 'LIMIT', 0, 100)) do
  redis.call('ZREM', K.WORKERS, dead)
end

local claims = redis.call('ZRANGE', K.CLAIMS, 0, most - 1, 'WITHSCORES')
for i = 1, #claims, 2 do
  local o = load(claims[i])
  if not o then
    redis.call('ZREM', K.CLAIMS, claims[i])
  else
    local beat = tonumber(redis.call('ZSCORE', K.WORKERS, o.owner) or '0')
    if NOW - beat > lease or NOW - tonumber(claims[i + 1]) > claim_max then
      local target = o.state
      if o.state == S.BUYING then target = S.UNKNOWN end
      if o.state == S.STAMPING then target = o.own == '1' and S.BOUGHT or S.QUEUED end
      if check(o, 'expire', target, '', '') == CODE.OK then
        -- A new token shuts the old holder out even before somebody else claims.
        local set = {fence = int(tonumber(o.fence) + 1), last = ''}
        if o.state == S.STAMPING then set.perhaps = '1' end
        settle(o, target, 'its worker went away', set)
        expired = expired + 1
      end
    end
  end
end

local jobs = {}
for i = 6, #ARGV do jobs[ARGV[i]] = true end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', K.DISPATCHED, '-inf', int(NOW - dispatch_max), 'LIMIT', 0, most)) do
  if not jobs[id] then
    redis.call('ZREM', K.DISPATCHED, id)
    redis.call('SREM', K.STAMP_LOAD, id)
    local o = load(id)
    if o and o.owner == '' and lane(o, o.state) then
      enter_lane(o, o.state)
      restored = restored + 1
    end
  end
end

for _, id in ipairs(redis.call('ZRANGEBYSCORE', K.LATER, '-inf', int(NOW), 'LIMIT', 0, most)) do
  redis.call('ZREM', K.LATER, id)
  local o = load(id)
  if o and o.owner == '' and lane(o, o.state) then
    enter_lane(o, o.state)
    due = due + 1
  end
end
return {CODE.OK, expired, restored, due}
