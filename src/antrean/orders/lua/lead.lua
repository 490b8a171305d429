-- One worker of all leads: it runs the loops that need to run once.
-- ARGV: now, worker, lease (ms)
-- Answer: {OK} we lead · {STATE} somebody else does
local leader = redis.call('GET', K.LEADER)
if leader and leader ~= ARGV[2] then
  -- A lease that ends later than any does is of before the server's clock was set back.
  if redis.call('PTTL', K.LEADER) > tonumber(ARGV[3]) then redis.call('PEXPIRE', K.LEADER, ARGV[3]) end
  return {CODE.STATE}
end
redis.call('SET', K.LEADER, ARGV[2], 'PX', ARGV[3])
return {CODE.OK}
