#!/usr/bin/env python3
"""faults.py - the rate of the closed loop after faults, next to the rate before them; effects lost or doubled"""
from concurrent.futures import ThreadPoolExecutor
from bench import *

N = int(100 * seconds(2))
s = Servers(pinned=False, options="-c shared_buffers=256MB -c max_wal_size=4GB -c restart_after_crash=on")
d = Daemon(s)
BODY = {"title": "bench", "tenant": "t-bench", "drive": "auto", "template": "noop"}
asked = 0


def create(i):
    """As a good caller does it: the same key again until there is an answer."""
    for attempt in range(200):
        try:
            status, text = d.http("POST", "/case/create", BODY, {"Idempotency-Key": "f-%d" % i})
            if status == 201:
                return
        except (OSError, http.client.HTTPException):
            pass
        time.sleep(.1)
    sys.exit("a case could not be created")


def window(fault=None):
    """cases/s of N cases created by 16 callers; the fault strikes when a third of them is created."""
    global asked
    first, asked = asked, asked + N
    t = time.monotonic()
    with ThreadPoolExecutor(16) as pool:
        jobs = [pool.submit(create, i) for i in range(first, first + N)]
        if fault:
            while sum(j.done() for j in jobs) < N // 3:
                time.sleep(.01)
            fault()
        for j in jobs:
            j.result()
    waited = time.monotonic()
    while True:
        try:
            if s.sql("SELECT count(*) FROM ops_case WHERE status IN ('CLOSED', 'PARKED')") == str(asked):
                return N / (time.monotonic() - t)
        except SystemExit:
            pass
        if time.monotonic() - waited > 100:
            sys.exit("not all of %d cases ended: " % asked + s.sql("SELECT status, park_reason, sentence, count(*) FROM ops_case GROUP BY 1, 2, 3"))
        time.sleep(.05)


def backend_kill():
    s.sql("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename IN ('opscase_worker', 'opscase_api')")


def postgres_crash():
    os.kill(int(s.sql("SELECT pid FROM pg_stat_activity WHERE usename = 'opscase_worker' LIMIT 1")), signal.SIGKILL)


def exhaustion():
    holders = [spawn(["psql", "-h", s.dir, "-U", "opscase_worker", "-d", "opscase", "-c", "SELECT pg_sleep(3)"], stdout=subprocess.DEVNULL,
                     stderr=subprocess.DEVNULL) for _ in range(90)]
    for h in holders:
        h.wait()
        children.remove(h)


def service_crash():
    d.stop(signal.SIGKILL)
    d.start()


window()
for name, fault in (("all backends terminated", backend_kill), ("PostgreSQL crashes and recovers", postgres_crash),
                    ("no connection left for 3 s", exhaustion), ("opscased killed and started again", service_crash)):
    before, during, after = [], [], []
    for r in range(ROUNDS):
        before.append(window())
        during.append(window(fault))
        after.append(window())
    figure("faults", "rate after: " + name, after, "cases/s", "before it", before, target=.98, during=percentile(during, 50))
parked = s.sql("SELECT park_reason, count(*) FROM ops_case WHERE status = 'PARKED' GROUP BY 1").split()
wrong = int(s.sql("SELECT count(*) FROM ops_case c WHERE c.status = 'CLOSED' AND (SELECT count(*) FROM exec_step x JOIN exec_run r ON r.id = x.run_id"
                  " WHERE r.case_id = c.id AND x.status = 'succeeded') <> 1"))
figure("faults", "closed cases whose step succeeded not exactly once", [wrong], "cases", target=0, at_least=False, cases=asked, parked=parked,
       note="by the rows; that no effect happens twice in the world is shown by tests/crash with a ledger adapter")
