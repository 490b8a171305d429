-- Removes orders that are in the archive from the hot set, each only as it was archived. What stays of one: its
-- idempotency key and the time of its erasure, until then, and who owns its SN.
-- ARGV: now, then triples: id, version, SHA-1 of who pays as it is sealed
-- Answer: {OK, orders removed}
local moved = 0
for i = 2, #ARGV, 3 do
  local o = load(ARGV[i])
  if o and TERMINAL[o.state] and o.ver == ARGV[i + 1] then
    local v = redis.call('HMGET', o.key, 'token', 'pii')
    if redis.sha1hex(v[2] or '') == ARGV[i + 2] then
      redis.call('DEL', o.key)
      if o.sn ~= '' then redis.call('DEL', K.PICTURE .. o.sn) end
      redis.call('HDEL', K.TICKETS, v[1])
      local seq = redis.call('ZSCORE', K.INDEX_ALL, o.id)
      redis.call('ZREM', K.INDEX_ALL, o.id)
      redis.call('ZREM', K.INDEX_OFFICE .. o.office, o.id)
      if o.sn ~= '' and redis.call('HGET', K.SERIAL_OWNER, o.sn) == o.id then
        redis.call('HSET', K.SERIAL_OWNER, o.sn, o.id .. '@' .. o.office)
      end
      if seq and tonumber(seq) > tonumber(redis.call('GET', K.ARCHIVED) or '0') then redis.call('SET', K.ARCHIVED, int(tonumber(seq))) end
      moved = moved + 1
    end
  end
end
return {CODE.OK, moved}
