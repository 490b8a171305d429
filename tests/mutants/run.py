"""Breaks the product on purpose, one place at a time, and shows that the tests notice: `make mutants`.

Each mutant is a copy of the source with one deliberate fault. A mutant that survives is a hole in the tests.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import old_orders
import pace
import papers
import personal

ROOT = Path(__file__).resolve().parents[2]
#: Cheapest first; a mutant is caught by the first that fails.
SUITES = (
    (
        "tests/test_states.py",
        "tests/test_orders.py",
        "tests/test_turn_stamping.py",
        "tests/test_deadlines.py",
        "tests/test_commit.py",
        "tests/test_resolve.py",
        "tests/test_walk.py",
        "tests/test_intent.py",
    ),
    ("tests/test_simulation.py",),
)
#: As many as in the test run: with fewer a rare fault may strike in none.
HISTORIES = "480"


@dataclass(frozen=True)
class Mutant:
    """In `file` under src/antrean, `old` becomes `new`."""

    name: str
    file: str
    old: str
    new: str
    suites: tuple[tuple[str, ...], ...] = SUITES


MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "generate is repeated after a lost answer",
        "orders/fulfil.py",
        "        except OutcomeUnknown as error:\n            return await self._doubt(turn, error)",
        "        except OutcomeUnknown as error:\n            return await self._ends.unavailable(turn, error)",
    ),
    Mutant(
        "the fencing token is not checked",
        "orders/lua/_common.lua",
        "if sources[target] and (o.fence ~= fence or o.owner == '') then",
        "if false then",
    ),
    Mutant(
        "the intent is skipped",
        "orders/intent.py",
        "            await self._begin(None)\n",
        "",
    ),
    Mutant(
        "an intent is noted with a permit that was not granted",
        "orders/lua/begin.lua",
        "if permit ~= '' and not redis.call('ZSCORE', permits, permit) then return {CODE.NO_PERMIT} end",
        "",
    ),
    Mutant(
        "an intent that was not noted with its permit is taken for noted",
        "orders/intent.py",
        "not await early[0] or early[1].old",
        "early[1].old",
    ),
    Mutant(
        "a dead worker's purchase is taken for not made",
        "orders/lua/sweep.lua",
        "if o.state == S.BUYING then target = S.UNKNOWN end",
        "if o.state == S.BUYING then target = S.QUEUED end",
    ),
    Mutant(
        "an answer is given before the write is confirmed on disk",
        "orders/commit.py",
        "            on_disk = not tail or (not isinstance(counts, BaseException) and durability.confirmed(counts))",
        "            on_disk = True",
    ),
    Mutant(
        "all submissions leave at once, however many are on their way",
        "orders/commit.py",
        "self.durability.tail or self._waiting or self._on_the_way >= ON_THE_WAY_MAX",
        "self.durability.tail",
    ),
    Mutant(
        "the order of a caller that went away is written with the batch",
        "orders/commit.py",
        "[one for one in batch if not one[1].done()]",
        "batch",
        (("tests/test_commit.py",),),
    ),
    Mutant(
        "commands that go together are parted",
        "config/redis_link.py",
        "        futures = [self._line_up(one) for one in packed]\n        self._flush_a_part()",
        "        futures = [(self._line_up(one), self._flush_a_part())[0] for one in packed]",
        (("tests/test_redis_link.py",),),
    ),
    Mutant(
        "the pattern of a NIK takes a 30 February",
        "gateway/identity.py",
        "(?:30|70)(?:0[13-9]",
        "(?:30|70)(?:0[1-9]",
        (("tests/test_gateway_input.py",),),
    ),
    Mutant(
        "what ends a header is sent in one",
        "gateway/answer.py",
        "if not value.isprintable() and _CONTROL.search(value):",
        "if False:",
        (("tests/test_answer.py",),),
    ),
    Mutant(
        "an answer goes in one piece to whoever asks",
        "gateway/answer.py",
        "if not self._plain(request):",
        "if False:",
        (("tests/test_answer.py",),),
    ),
    Mutant(
        "the letters of names are not equally likely",
        "orders/entropy.py",
        "ALPHABET[byte % 32]",
        "ALPHABET[byte % 31]",
        (("tests/test_entropy.py",),),
    ),
    Mutant(
        "the resolver does not wait for the list",
        "orders/resolve.py",
        "if o not in walk.files and self._settled(case)",
        "if o not in walk.files",
    ),
    Mutant(
        "a lost worker's claim is never found",
        "orders/lua/sweep.lua",
        "if NOW - beat > lease or NOW - tonumber(claims[i + 1]) > claim_max then",
        "if false then",
    ),
    Mutant(
        "a dispatched order without a job is forgotten",
        "orders/lua/sweep.lua",
        "  if not jobs[id] then",
        "  if false then",
    ),
    Mutant(
        "the idempotency key is not kept",
        "orders/lua/submit.lua",
        "redis.call('SET', idem, packed .. fingerprint, 'EX', ttl)",
        "",
    ),
    Mutant(
        "the purchase is not booked",
        "orders/lua/_common.lua",
        "    book(o, 'held', 'bought_unused', sn, reason)\n",
        "",
    ),
    Mutant(
        "a repetition after a lost answer is taken for a new step",
        "orders/lua/_common.lua",
        "  if op ~= '' and o.last == op then return CODE.ALREADY end",
        "",
    ),
    Mutant(
        "an SN that turns up late is thrown away",
        "orders/fulfil.py",
        "            await self._found(order.id, generated)\n            raise",
        "            raise",
    ),
    Mutant(
        "two workers may claim one order",
        "orders/lua/claim.lua",
        "if o.owner ~= '' or not lane(o, o.state) then",
        "if not lane(o, o.state) then",
    ),
    Mutant(
        "with the quota said to be used up every order tries",
        "orders/lua/claim.lua",
        "held = redis.call('GET', K.QUOTA_TRIAL) ~= id",
        "held = false",
        (("tests/test_quota.py",),),
    ),
    Mutant(
        "an empty list beside one that failed for now means nothing was bought",
        "provider/peruri.py",
        "if unclear := [e for e in failed if not isinstance(e, Rejected | TokenRefused | NotServed)]:",
        "if unclear := [e for e in failed if empty is None]:",
        (("tests/test_provider_peruri.py",),),
    ),
    Mutant(
        "time without a list counts as settling",
        "orders/resolve.py",
        "        return self._asked_s - case.since_s - case.away_s >= self._settle_s",
        "        return self._asked_s - case.since_s >= self._settle_s",
    ),
    Mutant(
        "a list that has moved by a page is taken for read to its end",
        "orders/account_list.py",
        "                if sold_since < len(answer.records):",
        "                if True:",
    ),
    Mutant(
        "a first page that repeats page 0 is taken for the end",
        "orders/account_list.py",
        "            elif page > 1:",
        "            else:",
    ),
    Mutant(
        "money that left the account is not looked at",
        "orders/witness.py",
        "    return Verdict.LATER if unnamed <= in_flight else Verdict.CONTRADICTS",
        "    return Verdict.AGREES",
    ),
)
_SERIALS = (("tests/test_serials.py",),)
MUTANTS += (
    Mutant(
        "an affix is given the SN of a purchase that may be refunded",
        "orders/lua/submit.lua",
        "if of[2] and of[2] ~= S.COMPLETED then return {CODE.PURCHASE_OPEN} end",
        "",
        _SERIALS,
    ),
    Mutant(
        "an SN that was replaced may be used again",
        "orders/lua/replay.lua",
        "if sn and not block_serial(o) then return {CODE.SERIAL_TAKEN} end\n",
        "",
        _SERIALS,
    ),
    Mutant(
        "a purchase whose SN an affix uses is refunded",
        "orders/lua/refund.lua",
        "if o.own == '1' and not block_serial(o) then return {CODE.SERIAL_TAKEN} end\n",
        "",
        _SERIALS,
    ),
)
MUTANTS += tuple(Mutant(*fault, suites=personal.SUITES) for fault in personal.FAULTS)
MUTANTS += tuple(Mutant(*fault, suites=old_orders.SUITES) for fault in old_orders.FAULTS)
MUTANTS += tuple(Mutant(*fault, suites=pace.SUITES) for fault in pace.FAULTS)
MUTANTS += tuple(Mutant(*fault, suites=papers.SUITES) for fault in papers.FAULTS)


#: Changes nothing: what "catches" this would catch anything.
CONTROL = Mutant("control", "orders/states.py", "class State(StrEnum):", "class State(StrEnum):")


def broken(mutant: Mutant) -> str:
    """The mutant's file with its fault. Raises ValueError where the place to break is not there, or not only once."""
    text = (ROOT / "src" / "antrean" / mutant.file).read_text()
    if text.count(mutant.old) != 1:
        raise ValueError(f"{mutant.name}: its place in {mutant.file} is there {text.count(mutant.old)} times")
    return text.replace(mutant.old, mutant.new)


def caught_by(mutant: Mutant) -> str | None:
    """The suite that fails on the mutant; None where it survives. Raises ValueError where it does not apply."""
    with tempfile.TemporaryDirectory(prefix="antrean-mutant-") as folder:
        copy = Path(folder)
        shutil.copytree(ROOT / "src", copy / "src")
        shutil.copytree(ROOT / "tests", copy / "tests")
        shutil.copy(ROOT / "pyproject.toml", copy)
        (copy / "src" / "antrean" / mutant.file).write_text(broken(mutant))
        env = os.environ | {
            "PYTHONPATH": str(copy / "src"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "ANTREAN_TEST_HISTORIES": HISTORIES,
        }
        for suite in mutant.suites:
            command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *suite]
            if (
                subprocess.run(
                    command, cwd=copy, env=env, capture_output=True, timeout=600, check=False
                ).returncode
                != 0
            ):
                return ", ".join(suite)
    return None


def main() -> int:
    """Try every mutant whose name holds the words given; 1 where one survives. `--places` only looks for all places."""
    if sys.argv[1:] == ["--places"]:
        return 0 if all(broken(mutant) for mutant in MUTANTS) else 1
    wanted = " ".join(sys.argv[1:])
    survivors = 0
    if suite := caught_by(CONTROL):
        print(f"{suite} fails on the unbroken source: nothing is shown")
        return 1
    for mutant in MUTANTS:
        if wanted not in mutant.name:
            continue
        suite = caught_by(mutant)
        survivors += suite is None
        print(
            f"{'SURVIVES' if suite is None else 'caught  '}  {mutant.name}  ({suite or mutant.file})",
            flush=True,
        )
    print(f"{len(MUTANTS)} mutants, {survivors} survive")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
