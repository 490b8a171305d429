-- Extends the leases of a living worker; one that has ended already is not brought back.
-- ARGV: now, lease length (ms), lease, lease, …
-- Answer: {how many still stand}
local ends = int(NOW + tonumber(ARGV[2]))
local standing = 0
for i = 3, #ARGV do
  local old = redis.call('ZSCORE', KEYS[6], ARGV[i])
  if old and tonumber(old) > NOW then
    redis.call('ZADD', KEYS[6], ends, ARGV[i])
    redis.call('ZADD', KEYS[3], 'XX', ends, ARGV[i])
    standing = standing + 1
  end
end
return {int(standing)}
