-- Accepts an order: all of it or nothing of it.
-- ARGV: now, id, id packed, office, digest of office and idempotency key, digest of the key as in layout 1, ttl of it (s),
--       fingerprint of the body, those that layout 1 may have of it, kind, body, reference, deadline (ms or ''), score
--       prefix (deadline minute), ticket token, document id, own SN, purchase order id, backlog max, office backlog max,
--       who pays (sealed), webhook URL, mark of this Redis as the gateway found it, SN of that purchase where it is archived and was made by this office
-- Answer: {OK, number of the ticket, score, SN or '', now (ms), how many stand before it} ·
--         {REPLAYED, id, packed or as text} · {KEY_REUSED} · {FULL} · {OFFICE_FULL} · {NO_DOCUMENT} · {NO_PURCHASE} ·
--         {PURCHASE_OPEN} · {SERIAL_TAKEN} · {SERIAL_FOREIGN} · {RETIRED}
local _, id, packed, office, digest, before, ttl, fingerprint, fingerprints_before, kind, body, reference, deadline,
  minute, token, document, own_sn, purchase, backlog_max, office_max, pii, hook, mark, archived_sn = unpack(ARGV)

local idem = K.IDEMPOTENCY .. digest
local earlier = redis.call('GET', idem)
if earlier then
  if string.sub(earlier, 17) ~= fingerprint then return {CODE.KEY_REUSED} end
  redis.call('SET', idem, earlier, 'KEEPTTL') -- WAITAOF waits for what its own connection has written
  return {CODE.REPLAYED, string.sub(earlier, 1, 16)}
end
local idem_before = K.IDEMPOTENCY_BEFORE .. office .. ':' .. before
earlier = redis.call('GET', idem_before)
if earlier then
  local first, kept = string.match(earlier, '^(%S+) (.+)$')
  if not string.find(' ' .. fingerprints_before .. ' ', ' ' .. kept .. ' ', 1, true) then return {CODE.KEY_REUSED} end
  redis.call('SET', idem_before, earlier, 'KEEPTTL')
  return {CODE.REPLAYED, first}
end

if not key_noted(pii, mark) then return {CODE.RETIRED} end
if tonumber(redis.call('HGET', K.COUNTS, 'open') or '0') >= tonumber(backlog_max) then return {CODE.FULL} end
if tonumber(redis.call('HGET', K.COUNTS_OFFICE .. office, 'open') or '0') >= tonumber(office_max) then
  return {CODE.OFFICE_FULL}
end

if document ~= '' and redis.call('HGET', K.DOCUMENT .. document, 'office') ~= office then return {CODE.NO_DOCUMENT} end

local sn = own_sn
if purchase ~= '' then
  local p = load(purchase)
  if p then
    if p.office ~= office or p.kind ~= 'purchase' then return {CODE.NO_PURCHASE} end
    if p.state ~= S.COMPLETED then return {CODE.PURCHASE_OPEN} end
    sn = p.sn
  else
    if archived_sn == '' then return {CODE.NO_PURCHASE} end
    sn = archived_sn
  end
end
if sn ~= '' then
  sn = as_booked(sn)
  local owner = redis.call('HGET', K.SERIAL_OWNER, sn)
  if owner then
    local at, of = string.match(owner, '@(.+)$'), {}
    if not at then
      of = redis.call('HMGET', K.ORDER .. owner, 'office', 'state')
      at = of[1]
    end
    if at ~= office then return {CODE.SERIAL_FOREIGN} end
    if redis.call('HEXISTS', K.SERIAL_USE, sn) == 1 then return {CODE.SERIAL_TAKEN} end
    -- While a person may still decide of the purchase, its money may be given back, or its SN replaced.
    if of[2] and of[2] ~= S.COMPLETED then return {CODE.PURCHASE_OPEN} end
  end
  -- One in the pool is for whoever pays for it.
  if redis.call('HEXISTS', K.POOL, sn) == 1 then return {CODE.SERIAL_FOREIGN} end
  if redis.call('HSETNX', K.SERIAL_USE, sn, id) == 0 then return {CODE.SERIAL_TAKEN} end
end

mark_layout()
local seq = redis.call('INCR', K.SEQUENCE)
local day = K.TICKET_DAY .. office .. ':' .. int(math.floor((NOW + BOOK.WIB_MS) / DAY_MS))
local number = redis.call('INCR', day)
if number == 1 then redis.call('EXPIRE', day, 172800) end
-- By the deadline's minute, then by age: 25 bits and 28 bits of a double's 53.
local score = int(tonumber(minute) * SCORE.MINUTE + seq % SCORE.MINUTE)

local o = {id = id, key = K.ORDER .. id, state = S.QUEUED, office = office, kind = kind, score = score, sn = sn}
-- What `record.py` and `load` know without it takes no room in it: a million held orders pay for each byte.
redis.call('HSET', o.key, 'office', office, 'kind', kind, 'body', body, 'score', score, 'number', number,
  'token', token, 'made', int(NOW), 'state', S.QUEUED, 'pii', pii)
if reference ~= '' then redis.call('HSET', o.key, 'ref', reference) end
if deadline ~= '' then redis.call('HSET', o.key, 'deadline', deadline) end
if sn ~= '' then redis.call('HSET', o.key, 'sn', sn, 'given', '1') end
if purchase ~= '' then redis.call('HSET', o.key, 'purchase', purchase) end
if hook ~= '' then redis.call('HSET', o.key, 'hook', hook) end
if document ~= '' then
  redis.call('PERSIST', K.DOCUMENT .. document)
  redis.call('HINCRBY', K.DOCUMENT .. document, 'uses', 1)
end
count(office, S.QUEUED, 1)
count(office, 'open', 1)
enter_lane(o, S.QUEUED)
redis.call('HSET', K.TICKETS, token, id)
redis.call('ZADD', K.INDEX_ALL, seq, id)
redis.call('ZADD', K.INDEX_OFFICE .. office, seq, id)
if sn == '' then book(o, '', 'held', '', 'accepted') end
redis.call('SET', idem, packed .. fingerprint, 'EX', ttl)
-- Nobody can watch an order that has just come to be, so nobody is told.
return {CODE.OK, int(number), score, sn, int(NOW), redis.call('ZRANK', lane(o, S.QUEUED), id)}
