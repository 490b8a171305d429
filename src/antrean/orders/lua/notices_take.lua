-- Notices whose time has come, each for one sender: until `lease` is over nobody else gets it.
-- ARGV: now, how many at most, lease (ms)
-- Answer: {OK, now, id, notice, its office and host, what is known of those or '', …}
local _, most, lease = unpack(ARGV)
local answer = {CODE.OK, int(NOW)}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', K.NOTICES_DUE, '-inf', int(NOW), 'LIMIT', 0, most)) do
  local text = redis.call('HGET', K.NOTICES, id)
  if text then
    redis.call('ZADD', K.NOTICES_DUE, int(NOW + tonumber(lease)), id)
    local n = cjson.decode(text)
    local endpoint = n.office .. '|' .. string.lower(string.match(n.url, '^%a+://([^/?#]+)') or '')
    for _, v in ipairs({id, text, endpoint, redis.call('HGET', K.ENDPOINTS, endpoint) or ''}) do
      answer[#answer + 1] = v
    end
  else
    redis.call('ZREM', K.NOTICES_DUE, id)
  end
end
return answer
