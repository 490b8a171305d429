-- Gives the login lock back if it is still ours, and stores what came of the login.
-- KEYS: 1 lock · 2 token (hash: token, ends_ms) · 3 note of a failed login
-- ARGV: who holds the lock, token ('' when the login failed), its life (ms), how long a failure is told (ms), now (ms)
-- Answer: 1
if ARGV[2] ~= '' then
  redis.call('HSET', KEYS[2], 'token', ARGV[2], 'ends_ms', string.format('%.0f', tonumber(ARGV[5]) + tonumber(ARGV[3])))
  redis.call('PEXPIRE', KEYS[2], ARGV[3])
  redis.call('DEL', KEYS[3])
elseif redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('SET', KEYS[3], '1', 'PX', ARGV[4])
end
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 1
