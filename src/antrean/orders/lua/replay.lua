-- Ops put an order that waits for a person back.
-- ARGV: now, id, decision: 'auto', 'ask' (the upstream, once more), 'not_bought' (a person has made sure) or
--       'new_serial' (from the pool), note with who and why
-- Answer: {OK, state} · {MISSING} · {STATE} · {POOL_EMPTY} · {REFUNDED} · {SERIAL_TAKEN} · {UNFIT} (see `decisions` in model.py)
local _, id, decision, note = unpack(ARGV)
local o = load(id)
if not o then return {CODE.MISSING} end
if o.state ~= S.ATTENTION then return {CODE.STATE, o.state} end
if o.refunded == '1' then return {CODE.REFUNDED} end
local fits = decision == 'auto'
if o.sn == '' then fits = fits or decision == 'ask' or decision == 'not_bought'
elseif o.own == '1' then fits = fits or decision == 'new_serial' end
if not fits then return {CODE.UNFIT} end
local err = redis.call('HGET', o.key, 'err') or ''
local unusable = string.match(err, '^9[27]\n') ~= nil
local target, sn
if o.sn ~= '' then
  target = o.own == '1' and S.BOUGHT or S.QUEUED
  if o.own == '1' and (decision == 'new_serial' or (decision == 'auto' and unusable)) then
    sn = redis.call('HRANDFIELD', K.POOL)
    if not sn and decision == 'new_serial' then return {CODE.POOL_EMPTY} end
  end
elseif decision == 'ask' or (decision == 'auto' and string.sub(err, 1, 16) == 'outcome-unknown\n') then
  target = S.UNKNOWN
else
  target = S.QUEUED
end
local code = check(o, 'replay', target, '', '')
if code ~= CODE.OK then return {code, o.state} end
if sn and not block_serial(o) then return {CODE.SERIAL_TAKEN} end
local set = {err = '', last = '', forgiven = redis.call('HGET', o.key, 'calls') or '0', fence = int(tonumber(o.fence) + 1)}
if sn then
  take_serial(o, sn, 'pool')
  if o.kind == 'affix' then redis.call('HSET', K.SERIAL_USE, sn, id) end
  set.sn = sn
end
settle(o, target, note, set)
return {CODE.OK, target}
