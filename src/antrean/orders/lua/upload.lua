-- Notes an uploaded PDF whose bytes are in the document store; forgotten after its time unless an order uses it.
-- ARGV: now, document id, office, pages, bytes, sha256, sizes (JSON), time to live (s) of the record and of the bytes
-- Answer: {OK}
local _, id, office, pages, bytes, sha256, sizes, ttl, forget = unpack(ARGV)
redis.call('HSET', K.DOCUMENT .. id, 'office', office, 'pages', pages, 'bytes', bytes, 'sha256', sha256, 'sizes', sizes,
  'made', int(NOW))
redis.call('EXPIRE', K.DOCUMENT .. id, ttl)
redis.call('ZADD', K.UPLOADS, int(NOW + tonumber(forget) * 1000), id)
return {CODE.OK}
