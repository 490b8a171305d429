-- Forgets a token that the upstream no longer takes, unless a newer one has come in its place.
-- KEYS: 1 token (hash)
-- ARGV: the token that was refused
-- Answer: 1 when forgotten, 0 when another is stored
if redis.call('HGET', KEYS[1], 'token') == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
