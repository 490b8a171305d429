"""Faults in the breaker and its limit: name, file under src/antrean, what is there, what takes its place."""

from __future__ import annotations

#: Cheapest first.
SUITES = (
    (
        "tests/test_breaker.py",
        "tests/test_breaker_trials.py",
        "tests/test_limiter.py",
        "tests/test_pacing.py",
        "tests/test_breaker_races.py",
    ),
    ("tests/test_turns.py", "tests/test_chance.py", "tests/test_provider_resilience.py"),
    ("tests/test_falls.py", "tests/test_pacing_blur.py", "tests/test_asked_pauses.py"),
)

FAULTS = (
    (
        "a ceiling at which the upstream asks for pauses is tried again at once",
        "provider/lua/settle.lua",
        "hold_until = math.max(hold_until, NOW + asked_ms +",
        "hold_until = math.max(hold_until, 0 * asked_ms +",
    ),
    (
        "a pause that was asked for is taken for an outage",
        "provider/lua/settle.lua",
        "if fell and tonumber(wait_ms) == 0 then",
        "if fell then",
    ),
    (
        "a call goes through an open breaker",
        "provider/lua/admit.lua",
        "if EFFECTIVE == 'open' then",
        "if false then",
    ),
    (
        "a half-open breaker tries as many as the limit allows",
        "provider/lua/admit.lua",
        " or redis.call('ZCARD', KEYS[3]) >= tonumber(trials_max)",
        "",
    ),
    (
        "a free question is a trial",
        "provider/lua/admit.lua",
        "order ~= '1' or redis.call('ZCARD', KEYS[3])",
        "redis.call('ZCARD', KEYS[3])",
    ),
    (
        "Retry-After holds nobody",
        "provider/lua/admit.lua",
        "if num(L, 'not_before') > NOW then",
        "if false then",
    ),
    (
        "the limit holds nothing back",
        "provider/lua/admit.lua",
        "if in_flight >= limit then",
        "if false then",
    ),
    (
        "a repetition costs nothing of the retry budget",
        "provider/lua/admit.lua",
        "  tokens = tokens - 1\n",
        "",
    ),
    (
        "a dead worker's slot is never free again",
        "provider/lua/admit.lua",
        "redis.call('ZREMRANGEBYSCORE', KEYS[6], '-inf', int(NOW))\n",
        "",
    ),
    (
        "calls start in bursts for ever",
        "provider/lua/admit.lua",
        "order ~= '1' or NOW - num(L, 'busy_at') >= RULE.EVEN_FOR_MS",
        "true",
    ),
    (
        "a call of an earlier epoch counts",
        "provider/lua/settle.lua",
        " or epoch ~= B.epoch then",
        " then",
    ),
    (
        "a call that is settled twice counts twice",
        "provider/lua/settle.lua",
        "if held == 0 or weight",
        "if weight",
    ),
    (
        "an instant failure frees its slot at once",
        "provider/lua/settle.lua",
        "  if keep_ms > 0 then",
        "  if false then",
    ),
    (
        "a free question's answer ends a row of orders' calls that failed",
        "provider/lua/settle.lua",
        "elseif not goes_on and (each == mine or order == '1') then",
        "elseif not goes_on then",
    ),
    (
        "the first refusal does not cut",
        "provider/lua/settle.lua",
        "if busy == '1' and refusals == 0 and others < limit",
        "if false and others < limit",
    ),
    (
        "each refusal of one full second cuts",
        "provider/lua/settle.lua",
        " and NOW >= num(L, 'cut_until') then",
        " then",
    ),
    (
        "refusals are never usual",
        "provider/lua/settle.lua",
        "local refusals = usual_refusals()",
        "local refusals = 0",
    ),
    (
        "a fall is not noted",
        "provider/lua/_gate.lua",
        "if L.fall_noted == '1' or height == 0 or not_back then return end",
        "if true then return end",
    ),
    (
        "the height of a fall is not kept from a lower ceiling",
        "provider/lua/_gate.lua",
        "return fall_holds() and math.max(ceiling, num(L, 'fell_at')) or ceiling",
        "return ceiling",
    ),
    (
        "refusals are looked for at any limit",
        "provider/lua/_refusals.lua",
        "return height == num(L, 'low_limit') and NOW",
        "return NOW",
    ),
    (
        "refusals are looked for before the fall of the limit had its effect",
        "provider/lua/_refusals.lua",
        " and NOW - num(L, 'low_since') >= RULE.HOLD_MS",
        "",
    ),
    (
        "refusals of an outage are taken for chance",
        "provider/lua/_refusals.lua",
        "row >= RULE.OUTAGE_ROW or ",
        "",
    ),
    (
        "what was chance once is so for ever",
        "provider/lua/_refusals.lua",
        " or num(L, 'calm') * usual >= RULE.REFUSALS_MISSED",
        "",
    ),
    (
        "more refusals than usual cut nothing over many calls",
        "provider/lua/_refusals.lua",
        "return num(L, 'all_busy') / n > usual",
        "return false and num(L, 'all_busy') / n > usual",
    ),
    (
        "a step that was judged twice moves the limit twice",
        "provider/lua/pace.lua",
        "if int(num(L, 'step')) ~= step then return {'ignored'} end",
        "",
    ),
    (
        "a decision of an earlier epoch moves the breaker",
        "provider/lua/move.lua",
        "if B.epoch ~= epoch or",
        "if",
    ),
    (
        "what recovers begins with the limit that it had",
        "provider/lua/move.lua",
        "'limit', start, 'baseline'",
        "'limit', L.limit or start, 'baseline'",
    ),
    (
        "every worker probes",
        "provider/lua/claim_probe.lua",
        "NOW >= num(B, 'last_probe') + interval",
        "true",
    ),
    (
        "errors cut at any share",
        "provider/pacing.py",
        "excess = share - _usual(state.background, calls)",
        "excess = share",
    ),
    (
        "errors never cut",
        "provider/pacing.py",
        "    if excess > 0:",
        "    if False:",
    ),
    (
        "the limit grows though nobody uses it",
        "provider/pacing.py",
        "    if not _used_up(state, sample):\n        return state  #",
        "    if False:\n        return state  #",
    ),
    (
        "the ceiling holds nothing back",
        "provider/pacing.py",
        "    if room < 1.0 and now_s < state.hold_until_s:\n        return state\n",
        "",
    ),
    (
        "slower answers do not cut",
        "provider/pacing.py",
        "return _Pace.SLOW",
        "return _Pace.QUICK",
    ),
    (
        "answers that differ much stop all growth",
        "provider/pacing.py",
        "if pace is _Pace.QUICK or (pace is not _Pace.SLOW and mean_s <= nearer_s):",
        "if pace is _Pace.QUICK:",
    ),
    (
        "the breaker opens on a full second",
        "provider/policy.py",
        "counted = window.failed_in_row if silent else window.failed_in_row - window.turned_away_in_row",
        "counted = window.failed_in_row",
    ),
    (
        "a rejection counts as a failure",
        "provider/policy.py",
        "    if isinstance(error, ProviderError):\n        return Weight.SUCCESS",
        "    if isinstance(error, ProviderError):\n        return Weight.FAILURE",
    ),
    (
        "slow calls do not open it",
        "provider/policy.py",
        "if window.slow_rate >= rules.slow_rate:",
        "if False:",
    ),
    (
        "a call after a lost answer is repeated",
        "provider/resilience.py",
        "isinstance(error, Unavailable)\n            and not isinstance(error, NotAdmitted",
        "isinstance(error, ProviderError)\n            and not isinstance(error, NotAdmitted",
    ),
    (
        "who asks for a long wait is asked again at once",
        "provider/resilience.py",
        "            and (error.retry_after_s or 0.0) <= self._rules.asked_max_s\n",
        "",
    ),
    (
        "a picture that is missing counts as a failure",
        "provider/resilience.py",
        "        except NoPicture:\n",
        "        except NoPicture as error:\n            outcome = error\n",
    ),
)
