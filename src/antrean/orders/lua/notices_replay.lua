-- Notices that were given up are due again, with 48 hours before them; the others stay as they are.
-- ARGV: now, ids…
-- Answer: {OK, how many}
local replayed = 0
for i = 2, #ARGV do
  local text = redis.call('HGET', K.NOTICES, ARGV[i])
  if redis.call('ZREM', K.NOTICES_DEAD, ARGV[i]) == 1 and text then
    local n = cjson.decode(text)
    n.since, n.tries = NOW, 0
    redis.call('HSET', K.NOTICES, ARGV[i], cjson.encode(n))
    redis.call('ZADD', K.NOTICES_DUE, int(NOW), ARGV[i])
    replayed = replayed + 1
  end
end
return {CODE.OK, replayed}
