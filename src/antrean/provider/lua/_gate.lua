-- Shared by every script of a gate (one breaker and its limit of calls in flight).
-- KEYS: 1 breaker (hash) · 2 window (hash: bucket → "calls failures slow" of orders, and the same of free questions) · 3 trial leases (zset: lease → end, ms)
--       4 history (list of JSON, newest first) · 5 limit (hash) · 6 leases of calls in flight (zset: lease → end, ms)
-- ARGV[1]: now in ms, 0 for the server's own clock, which is one for all hosts.
-- LOOKS (scripts.py): true in a script that only looks. Such a script must also answer where the server refuses every write
-- (no good replica, full disk, no memory), so it changes its own copy only: its answer shows what the next write will store.

local HISTORY_MAX = 1000
local BUCKETS = 10
local LEASE_MAX_MS = 5000 -- no lease is given for longer
local FALL_HOLD_MS, FALL_HOLD_MAX_MS = 10000, 40000

local NOW = tonumber(ARGV[1])
if NOW == 0 then
  local t = redis.call('TIME')
  NOW = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
end

local function int(n) return string.format('%.0f', n) end

local function hash(key)
  local flat = redis.call('HGETALL', key)
  local t = {}
  for i = 1, #flat, 2 do t[flat[i]] = flat[i + 1] end
  return t
end

local function num(t, name) return tonumber(t[name] or '0') or 0 end

local function keep(...)
  if not LOOKS then redis.call(...) end
end

local B = hash(KEYS[1])
local L = hash(KEYS[5])

local function set(field, value)
  B[field] = value
  keep('HSET', KEYS[1], field, value)
end

local function put(field, value)
  L[field] = tostring(value)
  keep('HSET', KEYS[5], field, L[field])
end

local function add(field, by) put(field, num(L, field) + by) end

local function forget(...)
  keep('HDEL', KEYS[5], ...)
  for _, field in ipairs({...}) do L[field] = nil end
end

local function forget_refusals()
  forget('low_calls', 'low_busy', 'low_limit', 'all_calls', 'all_busy', 'calm')
end

local function remember(kind, from, to, reason, actor)
  keep('LPUSH', KEYS[4], cjson.encode({
    at_ms = int(NOW), kind = kind, from = from, to = to, reason = reason, actor = actor}))
  keep('LTRIM', KEYS[4], 0, HISTORY_MAX - 1)
end

local function drop_override()
  keep('HDEL', KEYS[1], 'ov_state', 'ov_reason', 'ov_actor', 'ov_until', 'ov_since')
  B.ov_state = nil
end

-- A breaker that nobody has seen yet is closed.
if not B.state then
  set('state', 'closed')
  set('epoch', '1')
  set('since', int(NOW))
  set('reason', '')
end

-- Where the server's clock was set back, what is dated in the future counts from now: an outage must be probed, and the
-- slots of dead workers must come free, in seconds and not only when the clock has caught up.
if math.max(num(B, 'since'), num(B, 'last_probe'), num(L, 'step_since')) > NOW then
  if num(B, 'ov_since') > NOW then
    set('ov_until', int(NOW + num(B, 'ov_until') - num(B, 'ov_since')))
    set('ov_since', int(NOW))
  end
  for _, field in ipairs({'since', 'last_probe', 'next_probe', 'last_trial', 'room_since', 'good_at'}) do
    if num(B, field) > NOW then set(field, int(NOW)) end
  end
  for _, field in ipairs({'step_since', 'hold_until', 'fall_until', 'cut_until', 'not_before', 'busy_at', 'next_turn', 'low_since'}) do
    if num(L, field) > NOW then
      L[field] = int(NOW)
      keep('HSET', KEYS[5], field, L[field])
    end
  end
  for _, key in ipairs({KEYS[3], KEYS[6]}) do
    for _, lease in ipairs(redis.call('ZRANGEBYSCORE', key, '(' .. int(NOW + LEASE_MAX_MS), '+inf')) do
      keep('ZADD', key, int(NOW + LEASE_MAX_MS), lease)
    end
  end
end

-- An override past its end is over; the first script that acts notices it.
if B.ov_state and num(B, 'ov_until') <= NOW then
  remember('override_ended', B.ov_state, B.state, B.ov_reason, B.ov_actor)
  drop_override()
end

local EFFECTIVE = B.ov_state or B.state

local function counts(bucket)
  local c, f, s, qc, qf, qs = string.match(bucket or '0 0 0', '(%d+) (%d+) (%d+) ?(%d*) ?(%d*) ?(%d*)')
  return {tonumber(c), tonumber(f), tonumber(s), tonumber(qc) or 0, tonumber(qf) or 0, tonumber(qs) or 0}
end

-- Calls, failures and slow calls of the window: those for orders, or the free questions where no order's call was made. A
-- server may answer questions and do nothing else, or the other way round. Buckets outside the window (too old, or in the
-- future after the clock was set back) are dropped.
local function window(window_ms)
  local width = window_ms / BUCKETS
  local newest = math.floor(NOW / width)
  local oldest = newest - BUCKETS + 1
  local sums = {0, 0, 0, 0, 0, 0}
  local flat = redis.call('HGETALL', KEYS[2])
  for i = 1, #flat, 2 do
    if tonumber(flat[i]) < oldest or tonumber(flat[i]) > newest then
      keep('HDEL', KEYS[2], flat[i])
    else
      for place, count in ipairs(counts(flat[i + 1])) do sums[place] = sums[place] + count end
    end
  end
  local of = sums[1] > 0 and 0 or 3
  return sums[of + 1], sums[of + 2], sums[of + 3]
end

-- An upstream that fell over while all slots were in use is not asked for as much again for FALL_HOLD_MS, and for twice as
-- long each time that it falls over at the same height. Meanwhile a cut sets no lower ceiling: the upstream is not back yet.
local function fall_holds()
  return num(L, 'falls') > 0 and NOW < num(L, 'fall_until')
end

local function near(height, other)
  return other > 0 and math.abs(height - other) <= math.max(1, 0.15 * other)
end

local function not_below_fall(ceiling)
  return fall_holds() and math.max(ceiling, num(L, 'fell_at')) or ceiling
end

-- Notes once per row of failures, which began when the limit stood at `fell_from` (0: slots were free), how high that was. What
-- falls lower down while it is spared that height was hardly pushed, or is not back yet. Only if it falls there twice it bears
-- less by now.
local function note_fall(start)
  local height, fell_at = num(L, 'fell_from'), num(L, 'fell_at')
  if L.fall_noted == '1' or height == 0 then return end
  put('fall_noted', '1')
  local again = near(height, fell_at)
  if fall_holds() then
    if height <= tonumber(start) and fell_at > tonumber(start) then return end
    if not near(height, num(L, 'fell_lower')) then
      put('fell_lower', height)
      return
    end
    again = false
  end
  forget('fell_lower')
  if again then height = math.min(height, fell_at) end
  L.falls = int(again and num(L, 'falls') + 1 or 1)
  L.fell_at, L.ceiling = tostring(height), tostring(height)
  L.fall_until = int(NOW + math.min(FALL_HOLD_MS * 2 ^ (num(L, 'falls') - 1), FALL_HOLD_MAX_MS))
  L.hold_until = L.fall_until
  redis.call('HSET', KEYS[5], 'falls', L.falls, 'fell_at', L.fell_at, 'ceiling', L.ceiling,
    'fall_until', L.fall_until, 'hold_until', L.hold_until)
end

-- Forget what the present step has measured and begin the next one.
local function next_step()
  redis.call('HDEL', KEYS[5], 'answers', 'rtt', 'rtt2', 'done', 'errors', 'busy', 'used')
  redis.call('HSET', KEYS[5], 'step', int(num(L, 'step') + 1), 'step_since', int(NOW))
end

-- The same after a cut: failures of calls that began before the cut say nothing about the smaller limit.
local function next_step_after_cut()
  next_step()
  redis.call('HSET', KEYS[5], 'cut_step', int(num(L, 'step') + 1))
end
