-- Notes the key that seals from now on, unless what is sealed here already needs a key that this ring lacks.
-- ARGV: now, id of the key that seals, a known text sealed with it, then the ids of all keys in the ring
-- Answer: {OK, key id, known text sealed with it, …} · {STATE, missing key id, …}
local ring = {}
for i = 4, #ARGV do ring[ARGV[i]] = true end
local missing = {CODE.STATE}
for _, id in ipairs(redis.call('HKEYS', K.RING)) do
  if not ring[id] then missing[#missing + 1] = id end
end
if missing[2] then return missing end
redis.call('HSETNX', K.RING, ARGV[2], ARGV[3])
local answer = redis.call('HGETALL', K.RING)
table.insert(answer, 1, CODE.OK)
return answer
