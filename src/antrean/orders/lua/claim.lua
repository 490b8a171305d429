-- Makes one worker the only one who may take fenced steps with an order, and hands it the record.
-- ARGV: now, id, worker, op
-- Answer: {OK, SNs in the pool, field, value, …} · {MISSING} · {STATE} (done, claimed or waiting elsewhere) · {HELD}
local _, id, worker, op = unpack(ARGV)
local o = load(id)
if not o then return {CODE.MISSING} end
if o.last ~= op then
  if o.owner ~= '' or not lane(o, o.state) then
    redis.call('ZREM', K.DISPATCHED, id)
    return {CODE.STATE}
  end
  local held = redis.call('HEXISTS', K.HOLDS, HOLD.PAUSED) == 1
  if not held and o.state == S.QUEUED and o.sn == '' then
    held = redis.call('HEXISTS', K.HOLDS, HOLD.BALANCE) == 1
    if not held and redis.call('HEXISTS', K.HOLDS, HOLD.QUOTA) == 1 then
      held = redis.call('GET', K.QUOTA_TRIAL) ~= id
      if not held then redis.call('DEL', K.QUOTA_TRIAL) end
    end
  end
  leave_all(o)
  if held then
    enter_lane(o, o.state)
    return {CODE.HELD}
  end
  o.fence = int(tonumber(o.fence) + 1)
  redis.call('HSET', o.key, 'fence', o.fence, 'owner', worker, 'last', op)
  redis.call('ZADD', K.CLAIMS, int(NOW), id)
  if lane(o, o.state) == K.LANE_STAMP then redis.call('SADD', K.STAMP_LOAD, id) end
elseif o.owner ~= worker then
  return {CODE.STATE}
end
local answer = record(CODE.OK, id)
table.insert(answer, 2, redis.call('HLEN', K.POOL))
return answer
