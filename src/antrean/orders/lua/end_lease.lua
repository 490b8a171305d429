-- Gives a lease back, unless it ended by itself and is somebody else's now.
-- ARGV: now, name, token
-- Answer: {OK}
local _, name, token = unpack(ARGV)
if redis.call('GET', K.LEASE .. name) == token then redis.call('DEL', K.LEASE .. name) end
return {CODE.OK}
