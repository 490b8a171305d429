-- A worker's sign of life, by the server's clock.
-- ARGV: now, worker
-- Answer: {OK, now in ms}
redis.call('ZADD', K.WORKERS, int(NOW), ARGV[2])
return {CODE.OK, int(NOW)}
