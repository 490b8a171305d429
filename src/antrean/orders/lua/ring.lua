-- Notes the key that seals from now on, unless another process has changed what the caller has read.
-- ARGV: now, id of the key, the digest key sealed with it, then the ids of keys that were noted when the caller looked
-- Answer: {OK} · {STATE} · {RETIRED}
if redis.call('SISMEMBER', K.RING_RETIRED, ARGV[2]) == 1 then return {CODE.RETIRED} end
local seen, noted = {}, redis.call('HKEYS', K.RING)
for i = 4, #ARGV do seen[ARGV[i]] = true end
if #noted ~= #ARGV - 3 then return {CODE.STATE} end
for _, id in ipairs(noted) do
  if not seen[id] then return {CODE.STATE} end
end
redis.call('HSET', K.RING, ARGV[2], ARGV[3])
return {CODE.OK}
