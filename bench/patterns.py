#!/usr/bin/env python3
"""patterns.py - log templates: lines a second of one core over the labelled logs, with the accuracy of the same binary"""
from bench import *

data = os.environ.get("OPSCASE_DATA") or os.path.join(os.path.dirname(SOURCE), "shared", "data")
top = data + "/loghub_2k"
if not os.path.isdir(top):
    say("skipped: no labelled logs in %s (set OPSCASE_DATA)" % top)
    sys.exit(0)

import csv
lines = []
for name in sorted(os.listdir(top)):
    path = "%s/%s/%s_2k.log_structured.csv" % (top, name, name)
    if os.path.exists(path):
        with open(path, newline="", encoding="utf-8", errors="replace") as f:
            lines += [r["Content"] for r in csv.DictReader(f)]
text = "".join(l + "\n" for l in lines)
quality = json.loads(run([SOURCE + "/tools/log_templates", BUILD, "--json"]))["loghub_2k, labels as published"]["mean"]
# Drain with settings tuned per system, on the same eight (drain_reference.json)
with open(top + "/drain_reference.json") as f:
    drain = [s["published_grouping_accuracy"] for s in json.load(f)["datasets"].values()]

rates = [run_json([program("bench_patterns"), "speed", str(seconds(2))], CLIENT_CPU, input=text) for _ in range(ROUNDS)]
figure("patterns", "log lines to templates, one core", [r["lines_per_s"] for r in rates], "lines/s", target=2000000,
       bytes_per_line=rates[0]["bytes_per_line"], note="mask, look up, resolve; systems one after the other, over and over, the miner empty at first")
figure("patterns", "grouping accuracy, mean of the same systems, one configuration", [quality["GA"]], "share", "Drain as published, tuned per system",
       [sum(drain) / len(drain)], target=1.0, FGA=quality["FGA"], PA=quality["PA"], FTA=quality["FTA"], lost_by_shuffling=quality["shuf"])
