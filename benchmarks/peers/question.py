"""The same call by the bare loop, by Antrean and by each peer: jobs per second, and what was done twice or never."""

from __future__ import annotations

import httpx

from benchmarks.measure import Answer, Row
from benchmarks.peers.contest import PEERS, Contested, Upstream, run_peer
from benchmarks.picture import Bar, bars
from benchmarks.rig import rig
from benchmarks.throughput import UPSTREAM_S, bare_loop, drained, log_in, set_faults

IN_FLIGHT = 100
ORDERS, QUICK_ORDERS = 2400, 1000
#: A quick run gives each peer this share of its jobs.
QUICK_SHARE = 0.2


async def peers(quick: bool) -> Answer:
    """A row each; the ratio is Antrean's rate to the peer's."""
    count = QUICK_ORDERS if quick else ORDERS
    async with rig(UPSTREAM_CONCURRENCY_MAX=str(IN_FLIGHT)) as r:
        await set_faults(r)
        bare = await bare_loop(r, count, IN_FLIGHT)
        ours = await drained(r, count, IN_FLIGHT)
        rows = [
            Row(
                f"Antrean, one worker process, {1000 * UPSTREAM_S:.0f} ms a call, {IN_FLIGHT} in flight",
                f"{ours.per_s:.0f}/s, worker CPU {1000 * ours.cpu_s:.1f} ms an order",
                f"bare httpx loop: {bare.per_s:.0f}/s ({1000 * bare.cpu_s:.1f} ms)",
                f"{ours.per_s / bare.per_s:.2f}",
            )
        ]
        shown = [Bar("bare httpx loop", bare.per_s), Bar("Antrean", ours.per_s, ours=True)]
        async with httpx.AsyncClient(base_url=r.sim_origin, timeout=30) as http:
            url = f"{r.settings.upstream_stampv2_url}/chanel/stampv2"
            upstream = Upstream(url, await log_in(r), http)
            for peer in PEERS:
                await upstream.begin(UPSTREAM_S)
                jobs = max(20, int(peer.jobs * QUICK_SHARE)) if quick else peer.jobs
                seen = await run_peer(peer, upstream, IN_FLIGHT, jobs)
                rows.append(_row(seen, ours.per_s))
                if not seen.failure:
                    shown.append(Bar(seen.name, seen.per_s))
    title = f"Jobs per second, {1000 * UPSTREAM_S:.0f} ms a call, {IN_FLIGHT} in flight"
    return Answer(rows, {"peers": bars(title, shown)})


def _row(seen: Contested, ours_per_s: float) -> Row:
    if seen.failure:
        return Row(f"- {seen.name}", f"**FAILED, not measured**: {seen.failure}")
    lost = "time was over before the last" if seen.lost is None else f"{seen.lost} lost"
    return Row(
        f"- {seen.name}",
        f"{seen.per_s:.0f}/s, worker CPU {seen.cpu_ms:.1f} ms a job",
        f"{seen.done} of {seen.jobs} jobs, {seen.twice} run twice, {lost}",
        f"{ours_per_s / seen.per_s:.1f}",
    )
