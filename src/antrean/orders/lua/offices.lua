-- How many orders of each office are not at their end. An office that had some before this set was kept, and none in its
-- buy lane, joins it when it has come down to one.
-- ARGV: now
-- Answer: {office, orders, …}
local found = {}
for _, office in ipairs(redis.call('SUNION', K.OPEN_OFFICES, K.ACTIVE_OFFICES)) do
  local open = redis.call('HGET', K.COUNTS_OFFICE .. office, 'open') or '0'
  if open ~= '0' then
    found[#found + 1] = office
    found[#found + 1] = open
  end
end
return found
