-- The oldest entries leave the ledger's stream: they stand in a segment, which was read back. Totals stay as they are.
-- ARGV: now, first id, last id, how many, the segment's name
-- Answer: {OK} · {STATE} (these are not the oldest, or not so many: another process was here before)
local _, first, last, many, name = unpack(ARGV)
local oldest = redis.call('XRANGE', K.LEDGER, '-', '+', 'COUNT', 1)[1]
if not oldest or oldest[1] ~= first then return {CODE.STATE} end
if #redis.call('XRANGE', K.LEDGER, first, last) ~= tonumber(many) then return {CODE.STATE} end
local ms, number = string.match(last, '^(%d+)-(%d+)$')
redis.call('ZADD', K.LEDGER_SEGMENTS, 0, name)
redis.call('XTRIM', K.LEDGER, 'MINID', ms .. '-' .. int(tonumber(number) + 1))
return {CODE.OK}
