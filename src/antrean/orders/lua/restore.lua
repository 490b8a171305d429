-- Puts a dispatched order that nobody claimed back into its lane: the worker saw that its turn has not come.
-- ARGV: now, id
-- Answer: {OK} · {STATE}
local o = load(ARGV[2])
if not o or o.owner ~= '' or not lane(o, o.state) then return {CODE.STATE} end
if redis.call('ZREM', K.DISPATCHED, o.id) == 1 then
  redis.call('SREM', K.STAMP_LOAD, o.id)
  enter_lane(o, o.state)
end
return {CODE.OK}
