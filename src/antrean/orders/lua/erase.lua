-- Takes who paid out of the record of an order at its end, once; its documents are deleted already. It stays among
-- those that are due: a copy may be in the archive.
-- ARGV: now, id, note, body without the person
-- Answer: {OK} · {ALREADY} · {MISSING} · {STATE}
local _, id, note, body = unpack(ARGV)
local o = load(id)
if not o then return {CODE.MISSING} end
if not TERMINAL[o.state] then return {CODE.STATE} end
if redis.call('HEXISTS', o.key, 'erased') == 1 then return {CODE.ALREADY} end
redis.call('HDEL', o.key, 'pii', 'hook')
if o.own == '1' then redis.call('DEL', K.PICTURE .. o.sn) end
write(o, o.state, note, {erased = int(NOW), body = body})
return {CODE.OK}
