"""September 2024 again: three days of surge and outage, compressed, on real processes.

script ─▶ by seed: who comes when, with which deadline; what befalls the upstream, and who is killed when
   ├─▶ antrean    `antrean up` between the counters and the simulator
   ├─▶ by_hand    clerks who call the upstream themselves
   └─▶ plain      RQ and pybreaker as they come
outcome ─▶ report (Markdown) and picture (SVG), beside `best`: a schedule that knows everything in advance
"""
