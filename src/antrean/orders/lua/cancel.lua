-- Withdraws an order while provably nothing was bought; the money goes back. A worker that holds a claim on it
-- has sent nothing yet (the state would be buying), and the new fencing token stops it from doing so. One that waits for a
-- person is withdrawn so where it brought its own SN: nothing was paid for it here, and the SN is free again. Of one that
-- may be stamped already ops decide, once it waits for a person: its SN would go on another paper as well.
-- ARGV: now, id, note with who, 1 for ops
-- Answer: {OK} · {ALREADY} (cancelled before) · {MISSING} · {STATE}
local _, id, note, by_ops = unpack(ARGV)
local o = load(id)
if not o then return {CODE.MISSING} end
if o.state == S.CANCELLED then return {CODE.ALREADY} end
if check(o, 'cancel', S.CANCELLED, '', '') ~= CODE.OK then return {CODE.STATE} end
if o.state == S.ATTENTION and o.given ~= '1' then return {CODE.STATE} end
local ops_decide = o.state == S.ATTENTION and by_ops == '1'
if not ops_decide and redis.call('HGET', o.key, 'perhaps') == '1' then return {CODE.STATE} end
if o.sn ~= '' then end_use(o) else book(o, 'held', 'refunded', '', note) end
settle(o, S.CANCELLED, note, {fence = int(tonumber(o.fence) + 1), last = ''})
return {CODE.OK}
