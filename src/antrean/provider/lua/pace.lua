-- Writes the limit of the next step, once for one step.
-- ARGV: now, step that was judged, limit, baseline (s), ceiling, hold until (ms), background of errors,
--       answers that the baseline is known from, '1' when the limit was cut
-- Answer: {code}    code: moved · ignored
local _, step, limit, baseline, ceiling, hold_until, background, known, cut = unpack(ARGV)

if int(num(L, 'step')) ~= step then return {'ignored'} end
if tonumber(ceiling) > 0 then ceiling = tostring(not_below_fall(tonumber(ceiling))) end
redis.call('HSET', KEYS[5], 'limit', limit, 'baseline', baseline, 'ceiling', ceiling, 'hold_until', hold_until,
  'background', background, 'known', known)
if cut == '1' then
  -- Until then a first refusal makes no further cut.
  redis.call('HSET', KEYS[5], 'cut_until', int(math.min(tonumber(hold_until), NOW + RULE.HOLD_MS)))
end
if num(L, 'falls') > 0 and tonumber(limit) > num(L, 'fell_at') and not near(tonumber(limit), num(L, 'fell_at')) then
  redis.call('HDEL', KEYS[5], 'falls', 'fell_at', 'fell_lower') -- it bears more than that by now
end
if cut == '1' then next_step_after_cut() else next_step() end
return {'moved'}
