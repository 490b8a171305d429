-- Withdraws an order while provably nothing was bought; the money goes back. A worker that holds a claim on it
-- has sent nothing yet (the state would be buying), and the new fencing token stops it from doing so.
-- ARGV: now, id
-- Answer: {OK} · {ALREADY} (cancelled before) · {MISSING} · {STATE}
local id = ARGV[2]
local o = load(id)
if not o then return {CODE.MISSING} end
if o.state == S.CANCELLED then return {CODE.ALREADY} end
if check(o, 'cancel', S.CANCELLED, '', '') ~= CODE.OK then return {CODE.STATE} end
if o.sn ~= '' then
  redis.call('HDEL', K.SERIAL_USE, o.sn)
else
  book(o, 'held', 'refunded', '', 'cancelled')
end
settle(o, S.CANCELLED, 'withdrawn at the counter', {fence = int(tonumber(o.fence) + 1), last = ''})
return {CODE.OK}
