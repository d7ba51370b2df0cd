#!/usr/bin/env python3
"""detail.py - the detail store: log lines written, their size, and finding a trace among ten million of them"""
from bench import *

lines = int(os.environ.get("BENCH_LINES", "10000000"))
got = run_json([program("bench_detail"), str(lines), "200"])
figure("detail", "a trace found among %d stored log lines, p99" % lines, [got["p99_ms"]], "ms", target=200, at_least=False,
       p50_ms=got["p50_ms"], max_ms=got["max_ms"], segments_opened=got["segments_opened"], lookups=got["lookups"],
       note="filters in PostgreSQL, then the segments that may have it; every fourth trace is not there; one round, %d lookups" % got["lookups"])
figure("detail", "log lines into segments with their rows committed", [got["lines_per_s"]], "lines/s", cpu_us_per_line=got["cpu_us_per_line"],
       raw_bytes_per_line=got["raw_bytes_per_line"], bytes_per_line=got["bytes_per_line"], note="making the lines is in it; a flush and a commit every 100,000")
