-- What share of calls is turned away whatever our load is; read before settle.lua.
-- Refusals that do not cease with the load are no sign of it. They are looked for at the lowest limit since it last doubled,
-- a while after it fell there: what our load causes ceases there, or the limit falls further and the look begins anew.
local function usual_refusals()
  local calls, refused = num(L, 'low_calls'), num(L, 'low_busy')
  if calls < RULE.REFUSALS_OF or refused < 2 then return 0 end
  return refused >= RULE.REFUSED_MIN * calls and refused <= RULE.REFUSED_MAX * calls and refused / calls or 0
end

-- Counts a call, where older ones count half from `most` on.
local function count(calls, refused, most, was_refused)
  local share = num(L, calls) >= most and 0.5 or 1
  put(calls, share * num(L, calls) + 1)
  put(refused, share * num(L, refused) + (was_refused and 1 or 0))
end

-- Whether more than the usual share is refused, over many calls at any limit.
local function more_than(usual, was_refused)
  count('all_calls', 'all_busy', RULE.REFUSALS_TEST, was_refused)
  local n = num(L, 'all_calls')
  if n < RULE.REFUSALS_TEST then return false end
  local doubt = math.sqrt(usual * (1 - usual) * (1 / n + 1 / num(L, 'low_calls')))
  return num(L, 'all_busy') / n > usual + RULE.DOUBT_TEST * doubt
end

-- Whether a call at this limit is made where our load is the least of late.
local function at_lowest(limit)
  if limit < 2 then return true end
  local height, lowest = math.floor(limit), num(L, 'low_limit')
  if lowest == 0 or height < lowest or height > 2 * lowest then
    forget('low_calls', 'low_busy')
    put('low_limit', height)
    put('low_since', int(NOW))
  end
  return height == num(L, 'low_limit') and NOW - num(L, 'low_since') >= RULE.HOLD_MS and limit < RULE.NEAR * num(L, 'ceiling')
end

-- Learns from a call of that step of the limit, which was `refused` or not, as the last of so many in a row. Answers whether the
-- limit is to be cut because more than usual is refused.
local function cut_for_refusals(limit, step, refused, row)
  if tonumber(step) < num(L, 'cut_step') then return false end
  local usual = usual_refusals()
  if usual > 0 and not refused then add('calm', 1) elseif num(L, 'calm') > 0 then put('calm', 0) end
  if row >= RULE.OUTAGE_ROW or num(L, 'calm') * usual >= RULE.REFUSALS_MISSED then
    forget_refusals()
    return false
  end
  if usual > 0 and limit >= 2 then return more_than(usual, refused) end
  if at_lowest(limit) then count('low_calls', 'low_busy', 2 * RULE.REFUSALS_OF, refused) end
  return false
end
