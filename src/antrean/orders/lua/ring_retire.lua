-- Takes the note of every key but one away: from now on nothing is sealed with them. Not while a gateway does.
-- ARGV: now, id of the key that stays, ms after which a gateway that said nothing is gone
-- Answer: {OK} · {STATE, the key that a gateway sealed with last, ms since it said so}
local _, stays, silent = unpack(ARGV)
local others, latest, since = {}, nil, tonumber(silent)
for _, id in ipairs(redis.call('HKEYS', K.RING)) do
  if id ~= stays then
    local silence = NOW - tonumber(redis.call('HGET', K.RING_SEEN, id) or '0')
    if silence < since then
      latest, since = id, silence
    end
    others[#others + 1] = id
  end
end
if latest then return {CODE.STATE, latest, int(since)} end
if #others > 0 then
  redis.call('HDEL', K.RING, unpack(others))
  redis.call('HDEL', K.RING_SEEN, unpack(others))
end
return {CODE.OK}
