#!/usr/bin/env python3
"""fsm.py - decisions of the pure case machine per second, one thread"""
from bench import *

rows = [run_json([program("bench_fsm"), str(int(20e6 * (SECONDS or 1)))], CLIENT_CPU) for _ in range(ROUNDS)]
figure("fsm", "case_step along the path of a verified case", [r["path"] for r in rows], "decisions/s", target=20e6)
figure("fsm", "case_step over random pairs of state and event", [r["all"] for r in rows], "decisions/s", target=20e6,
       note="about two in three are refused")
