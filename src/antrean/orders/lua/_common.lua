-- Shared by every script: time, lanes, history, counts, ledger and the one `move` that checks the table.
-- ARGV[1] is always the time in ms, 0 for the server's own clock.

local HISTORY_MAX = 60
local DAY_MS = 86400000

local NOW = tonumber(ARGV[1])
if NOW == 0 then
  local t = redis.call('TIME')
  NOW = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
end

-- Records that a newer release wrote are left alone, whatever the script.
local layout = tonumber(redis.call('GET', K.LAYOUT) or LAYOUT.FIRST)
if layout > LAYOUT.READS then return redis.error_reply(LAYOUT.REFUSAL .. ' ' .. layout) end

-- Before a record is stored: from now on there are records of this layout.
local function mark_layout()
  if layout < LAYOUT.WRITES then redis.call('SET', K.LAYOUT, LAYOUT.WRITES) end
end

-- Whether the key that this was sealed with is one of this Redis. What is sealed with another nobody might open later.
-- `mark`: how its note begins, of one who was here before; '' of anybody else.
local function key_noted(sealed, mark)
  local note = redis.call('HGET', K.RING, string.match(sealed, '^[^.]*'))
  return note and string.sub(note, 1, #mark) == mark
end

local function int(n) return string.format('%.0f', n) end

local FIELDS = {'state', 'fence', 'office', 'kind', 'score', 'owner', 'sn', 'own', 'ver', 'hist', 'last', 'given', 'refunded', 'hook', 'made'}

-- WAITAOF waits for what its own connection has written. A repetition that comes on another one, and finds everything as it
-- is to be, writes one field as it stands, so that its answer too is waited for.
local function written_again(o, op)
  redis.call('HSET', o.key, 'last', op)
end

-- The order's moving fields as a table, or nil.
local function load(id)
  local v = redis.call('HMGET', K.ORDER .. id, unpack(FIELDS))
  if not v[1] then return nil end
  local o = {id = id, key = K.ORDER .. id}
  for i, name in ipairs(FIELDS) do o[name] = v[i] or '' end
  -- What is still as it was when the order was accepted is not in its record (record.py).
  if o.fence == '' then o.fence = '0' end
  if o.ver == '' then o.ver = '1' end
  if o.hist == '' then o.hist = o.made .. '|' .. S.QUEUED .. '|accepted' end
  return o
end

-- An answer of `code` and the whole record, as field, value, …
local function record(code, id)
  local answer = redis.call('HGETALL', K.ORDER .. id)
  table.insert(answer, 1, code)
  return answer
end

-- Where an order that nobody has claimed waits: the name of its lane, or nil for states that wait elsewhere.
local function lane(o, state)
  if state == S.QUEUED then
    if o.sn == '' then return K.LANE_BUY .. o.office end
    return K.LANE_STAMP
  end
  if state == S.BOUGHT then
    if o.kind == 'affix' then return K.LANE_STAMP end
    return K.LANE_FETCH
  end
end

local function enter_lane(o, state)
  local name = lane(o, state)
  redis.call('ZADD', name, o.score, o.id)
  if name == K.LANE_BUY .. o.office then redis.call('SADD', K.ACTIVE_OFFICES, o.office) end
end

-- Out of every place where an order can wait or be worked on.
local function leave_all(o)
  redis.call('ZREM', K.LANE_BUY .. o.office, o.id)
  redis.call('ZREM', K.LANE_FETCH, o.id)
  redis.call('ZREM', K.LANE_STAMP, o.id)
  redis.call('ZREM', K.DISPATCHED, o.id)
  redis.call('ZREM', K.CLAIMS, o.id)
  redis.call('SREM', K.STAMP_LOAD, o.id)
  redis.call('ZREM', K.LATER, o.id)
  redis.call('ZREM', K.UNKNOWN, o.id)
  redis.call('ZREM', K.ATTENTION, o.id)
end

local function count(office, state, by)
  redis.call('HINCRBY', K.COUNTS, state, by)
  local now = redis.call('HINCRBY', K.COUNTS_OFFICE .. office, state, by)
  if state == 'open' and now <= 1 then redis.call(now == 1 and 'SADD' or 'SREM', K.OPEN_OFFICES, office) end
end

-- One movement of money between accounts; '' as source is the citizen's payment.
local function book(o, from, to, sn, reason)
  redis.call('XADD', K.LEDGER, '*', 'at', int(NOW), 'order', o.id, 'office', o.office,
    'from', from, 'to', to, 'idr', BOOK.AMOUNT_IDR, 'sn', sn, 'reason', reason)
  local day, at = K.LEDGER_DAY .. int(math.floor((NOW + BOOK.WIB_MS) / DAY_MS)), o.office .. '|'
  local function move(account, amount)
    redis.call('HINCRBY', K.LEDGER_TOTALS, account, amount)
    redis.call('HINCRBY', day, at .. account, amount)
  end
  if from == '' then move('paid', BOOK.AMOUNT_IDR) else move(from, -BOOK.AMOUNT_IDR) end
  move(to, BOOK.AMOUNT_IDR)
end

-- History is lines "ms|state|note"; the first is kept, the middle gives way when there are too many.
local function note_line(o, state, note)
  local clean = string.gsub(note, '[|\r\n]', ' ')
  local lines = o.hist
  if lines ~= '' then lines = lines .. '\n' end
  lines = lines .. int(NOW) .. '|' .. state .. '|' .. clean
  local _, breaks = string.gsub(lines, '\n', '')
  if breaks >= HISTORY_MAX then
    local first = string.find(lines, '\n', 1, true)
    local second = string.find(lines, '\n', first + 1, true)
    lines = string.sub(lines, 1, first) .. string.sub(lines, second + 1)
  end
  o.hist = lines
end

-- What a webhook is to tell of the state just written; the sender finds it among those that are due.
local function notice(o, state)
  local v = redis.call('HMGET', o.key, 'number', 'ref', 'sn', 'err')
  local id = o.id .. '-' .. o.ver
  redis.call('HSET', K.NOTICES, id, cjson.encode({order = o.id, office = o.office, kind = o.kind, state = state,
    at = NOW, since = NOW, url = o.hook, number = v[1], ref = v[2] or '', sn = v[3] or '', err = v[4] or '', tries = 0}))
  redis.call('ZADD', K.NOTICES_DUE, int(NOW), id)
end

-- Writes a change of state (or a note on the same state) and tells those who watch. `set`: further fields.
local function write(o, state, note, set)
  mark_layout()
  note_line(o, state, note)
  o.ver = int(tonumber(o.ver) + 1)
  local args = {'state', state, 'ver', o.ver, 'hist', o.hist, 'upd', int(NOW)}
  for name, value in pairs(set or {}) do
    args[#args + 1] = name
    args[#args + 1] = value
  end
  redis.call('HSET', o.key, unpack(args))
  redis.call('HINCRBY', K.COUNTS_OFFICE .. o.office, 'changes', 1)
  if state ~= o.state then
    count(o.office, o.state, -1)
    count(o.office, state, 1)
    if TERMINAL[state] and not TERMINAL[o.state] then count(o.office, 'open', -1) end
    if TERMINAL[o.state] and not TERMINAL[state] then count(o.office, 'open', 1) end
    if state == S.COMPLETED then
      local bucket = K.DONE .. int(math.floor(NOW / SPAN.MS))
      redis.call('INCR', bucket)
      redis.call('EXPIRE', bucket, SPAN.KEPT_S)
    end
    if TERMINAL[state] then redis.call('ZADD', K.ERASE, int(NOW), o.id) end
    if o.hook ~= '' and (TERMINAL[state] or state == S.ATTENTION) then notice(o, state) end
  end
  -- A user of Redis that may not publish must not stop here: what is still to be written is where the order waits.
  redis.pcall('PUBLISH', K.EVENTS, o.id .. ' ' .. o.ver .. ' ' .. state)
  o.state = state
end

-- May `verb` take `o` to `target`? `fence` is the caller's token ('' where it has none), `op` names this very
-- call, so that a repetition after a lost answer is told apart from a second try by somebody else.
local function check(o, verb, target, fence, op)
  if op ~= '' and o.last == op then return CODE.ALREADY end
  local sources = MOVES[verb][o.state]
  if not sources or sources[target] == nil then return CODE.STATE end
  if sources[target] and (o.fence ~= fence or o.owner == '') then return CODE.FENCED end
  return CODE.OK
end

-- To its end, or back to where it waits, with nobody's claim on it. `set.nb`: not before this ms.
local function settle(o, state, note, set, not_before)
  leave_all(o)
  set = set or {}
  set.owner = ''
  o.owner = ''
  write(o, state, note, set)
  if state == S.UNKNOWN then
    redis.call('ZADD', K.UNKNOWN, int(NOW), o.id)
  elseif state == S.ATTENTION then
    redis.call('ZADD', K.ATTENTION, int(NOW), o.id)
  elseif not TERMINAL[state] then
    if not_before and not_before > NOW then
      redis.call('ZADD', K.LATER, int(not_before), o.id)
    else
      enter_lane(o, state)
    end
  end
end

-- An SN as our books have it: a list, or a clerk, may write it in other letters (all capitals, all small) than its sale did.
local function as_booked(sn)
  local tried = {}
  for _, each in ipairs({sn, string.upper(sn), string.lower(sn)}) do
    if not tried[each] then
      tried[each] = true
      for _, books in ipairs({K.SERIAL_OWNER, K.POOL, K.SERIAL_USE}) do
        if redis.call('HEXISTS', books, each) == 1 then return each end
      end
    end
  end
  return sn
end

-- Nobody puts its SN on a PDF any more, unless another order does.
local function end_use(o)
  if redis.call('HGET', K.SERIAL_USE, o.sn) == o.id then redis.call('HDEL', K.SERIAL_USE, o.sn) end
end

-- The SN stays the order's for good: nobody may have it stamped for nothing. False where another order uses it.
local function block_serial(o)
  local user = redis.call('HGET', K.SERIAL_USE, o.sn)
  if user and user ~= o.id then return false end
  redis.call('HSET', K.SERIAL_USE, o.sn, o.id)
  return true
end

-- The SN becomes the order's: names its owner and books the purchase. An order that had an SN already (one that
-- could not be stamped) was booked then; the one from the pool replaces it, and the book says so. `reason` is 'pool'
-- where no money left.
local function take_serial(o, sn, reason)
  redis.call('HSET', K.SERIAL_OWNER, sn, o.id)
  redis.call('HDEL', K.POOL, sn)
  if o.own == '1' then
    book(o, 'bought_unused', 'bought_unused', sn, reason .. BOOK.IN_PLACE_OF .. o.sn)
  else
    book(o, 'held', 'bought_unused', sn, reason)
  end
  if reason ~= 'pool' then redis.call('HINCRBY', K.BALANCE, 'bought', 1) end
  o.sn = sn
  o.own = '1'
end
