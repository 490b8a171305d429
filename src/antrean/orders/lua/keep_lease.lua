-- A lease goes on, if it is still ours.
-- ARGV: now, name, token, for how long (ms)
-- Answer: {OK} · {STATE} it ended
local _, name, token, lease_ms = unpack(ARGV)
if redis.call('GET', K.LEASE .. name) ~= token then return {CODE.STATE} end
redis.call('PEXPIRE', K.LEASE .. name, lease_ms)
return {CODE.OK}
