-- Shared by every script of a gate (one breaker and its limit of calls in flight).
-- KEYS: 1 breaker (hash) · 2 window (hash: bucket → "calls failures slow") · 3 trial leases (zset: lease → end, ms)
--       4 history (list of JSON, newest first) · 5 limit (hash) · 6 leases of calls in flight (zset: lease → end, ms)
-- ARGV[1]: now in ms, 0 for the server's own clock, which is one for all hosts.

local HISTORY_MAX = 1000
local BUCKETS = 10

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

local B = hash(KEYS[1])
local L = hash(KEYS[5])

local function set(field, value)
  B[field] = value
  redis.call('HSET', KEYS[1], field, value)
end

local function remember(kind, from, to, reason, actor)
  redis.call('LPUSH', KEYS[4], cjson.encode({
    at_ms = int(NOW), kind = kind, from = from, to = to, reason = reason, actor = actor}))
  redis.call('LTRIM', KEYS[4], 0, HISTORY_MAX - 1)
end

local function drop_override()
  redis.call('HDEL', KEYS[1], 'ov_state', 'ov_reason', 'ov_actor', 'ov_until', 'ov_since')
  B.ov_state = nil
end

-- A breaker that nobody has seen yet is closed.
if not B.state then
  set('state', 'closed')
  set('epoch', '1')
  set('since', int(NOW))
  set('reason', '')
end

-- An override past its end is over, whoever notices it first.
if B.ov_state and num(B, 'ov_until') <= NOW then
  remember('override_ended', B.ov_state, B.state, B.ov_reason, B.ov_actor)
  drop_override()
end

local EFFECTIVE = B.ov_state or B.state

-- Calls, failures and slow calls of the window; buckets that fell out of it are dropped.
local function window(window_ms)
  local width = window_ms / BUCKETS
  local oldest = math.floor(NOW / width) - BUCKETS + 1
  local calls, failures, slow = 0, 0, 0
  local flat = redis.call('HGETALL', KEYS[2])
  for i = 1, #flat, 2 do
    if tonumber(flat[i]) < oldest then
      redis.call('HDEL', KEYS[2], flat[i])
    else
      local c, f, s = string.match(flat[i + 1], '(%d+) (%d+) (%d+)')
      calls, failures, slow = calls + c, failures + f, slow + s
    end
  end
  return calls, failures, slow
end

-- Forget what the present step has measured and begin the next one.
local function next_step()
  redis.call('HDEL', KEYS[5], 'answers', 'rtt', 'rtt2', 'done', 'errors', 'busy', 'used')
  redis.call('HSET', KEYS[5], 'step', int(num(L, 'step') + 1), 'step_since', int(NOW))
end

-- The same after a cut: failures of calls begun before it say nothing of the smaller limit.
local function next_step_after_cut()
  next_step()
  redis.call('HSET', KEYS[5], 'cut_step', int(num(L, 'step') + 1))
end
