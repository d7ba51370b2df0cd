#!/usr/bin/env python3
"""gate.py - a policy decision in process, next to cedar-wasm with the same answers; the gate's decision with its commit"""
import random
from bench import *

ENV, ACTIONS, BLAST, SOURCE = ["prod", "staging", "dev"], ["k8s.rollout", "http.get", "script.exec", "noop", "gateway.flip"], \
    ["none", "service", "host", "cluster"], ["template", "person", "llm", "derived"]
TENANTS = ["t-%03d" % i for i in range(200)]


def leaf(rng):
    """(fact, yaml, cedar): one comparison said twice."""
    def eq(fact, values):
        v = rng.choice(values)
        return "%s: %s" % (fact, v), 'context.%s == "%s"' % (fact, v)

    def isin(fact, values):
        some = rng.sample(values, 2)
        return "%s: {in: [%s]}" % (fact, ", ".join(some)), "[%s].contains(context.%s)" % (", ".join('"%s"' % v for v in some), fact)

    def number(fact, most):
        op, n = rng.choice([("gt", ">"), ("ge", ">="), ("lt", "<"), ("le", "<=")]), rng.randrange(most)
        return "%s: {%s: %d}" % (fact, op[0], n), "context.%s %s %d" % (fact, op[1], n)

    def truth(fact):
        v = rng.choice(["true", "false"])
        return "%s: %s" % (fact, v), "context.%s == %s" % (fact, v)

    return rng.choice([lambda: eq("action", ACTIONS), lambda: eq("environment", ENV), lambda: eq("tenant", TENANTS), lambda: isin("blast", BLAST),
                       lambda: eq("source", SOURCE), lambda: number("steps", 8), lambda: number("downstream", 40), lambda: number("hour", 24),
                       lambda: truth("bound"), lambda: truth("reversible")])()


def rules(rng, count, keyed):
    out = []
    for i in range(count):
        parts = {}
        # a real set of many rules is one of many tenants and actions, not of many rules for everyone
        if keyed:
            t, a = "t-%03d" % (i // 10), ACTIONS[i % len(ACTIONS)]
            parts["tenant"] = ("tenant: %s" % t, 'context.tenant == "%s"' % t)
            parts["action"] = ("action: %s" % a, 'context.action == "%s"' % a)
        while len(parts) < (3 if keyed else rng.randrange(1, 4)):
            y, c = leaf(rng)
            parts.setdefault(y.split(":")[0], (y, c))
        out.append((rng.choice(["allow", "allow", "ask", "deny"]), [p[0] for p in parts.values()], [p[1] for p in parts.values()]))
    return out


def request(rng, tenants=200):
    return {"action": rng.choice(ACTIONS), "environment": rng.choice(ENV), "tenant": "t-%03d" % rng.randrange(tenants), "blast": rng.choice(BLAST),
            "source": rng.choice(SOURCE), "steps": rng.randrange(8), "downstream": rng.randrange(40), "hour": rng.randrange(24),
            "bound": rng.random() < .5, "reversible": rng.random() < .5}


def write(folder, some, requests):
    shutil.rmtree(folder + "/policy", ignore_errors=True)
    os.mkdir(folder + "/policy")
    for first in range(0, len(some), 2000):
        with open(folder + "/policy/%05d.yaml" % first, "w") as f:
            f.write("version: 1\nrules:\n")
            for i, (answer, yaml, _) in enumerate(some[first:first + 2000], first):
                f.write("  - id: r%d\n    when: {%s}\n    answer: %s\n    reason: rule %d\n" % (i, ", ".join(yaml), answer, i))
    # kill_switch and budgets are built in; set so that they say nothing
    facts = [dict(r, kill_switch=False, needs="", budget_left=2, frozen=False, plan_kind="forward") for r in requests]
    json.dump(facts, open(folder + "/facts.json", "w"))
    # one permit policy per rule: the ids that determined the answer are the rules that hold, whatever they answer
    json.dump({"policies": {"r%d" % i: "permit(principal, action, resource) when { %s };" % " && ".join(c) for i, (_, _, c) in enumerate(some)},
               "answers": {"r%d" % i: a for i, (a, _, _) in enumerate(some)}, "requests": requests}, open(folder + "/cedar.json", "w"))


folder = tempfile.mkdtemp(prefix="opscase-bench-")
atexit.register(shutil.rmtree, folder, ignore_errors=True)
peers = npm("@cedar-policy/cedar-wasm@4.13.0")
shutil.copy(HERE + "/peers/cedar.mjs", peers + "/cedar.mjs")
gate, cedar = [program("bench_gate"), folder], [node_of(peers), peers + "/cedar.mjs", folder]

# the same answer on 1,000 random pairs of policy and request: 50 sets of 20 rules, 20 requests each
rng = random.Random(int(os.environ.get("BENCH_SEED", "7")))
same = total = 0
tally = {}
for _ in range(50):
    write(folder, rules(rng, 20, False), [request(rng) for _ in range(20)])
    a, b = run_json(gate + ["0"])["answers"], run_json(cedar + ["0"])["answers"]
    same += sum(x == y for x, y in zip(a, b))
    total += len(a)
    for x in a:
        tally[x] = tally.get(x, 0) + 1
figure("gate", "same answer as cedar on random policies and requests", [same / total * 100], "%", target=100, pairs=total,
       answers={"allow": tally.get("a", 0), "ask": tally.get("q", 0), "deny": tally.get("d", 0)})

requests = [request(rng) for _ in range(1000)]
small, large = rules(rng, 20, False), rules(rng, 10000, True)
keyed = rules(rng, 20, True)
ours, peer, many, few = [], [], [], []
for r in range(ROUNDS):
    write(folder, small, requests)
    ours.append(run_json(gate + [str(int(seconds(1) * 2e6))], CLIENT_CPU)["us"])
    got = run_json(cedar + [str(int(seconds(1) * 5000))], CLIENT_CPU)
    peer.append(got["us"])
    write(folder, keyed, [request(rng, 2) for _ in range(1000)])
    few.append(run_json(gate + [str(int(seconds(1) * 2e6))], CLIENT_CPU)["us"])
    write(folder, large, [request(rng, 1000) for _ in range(1000)])
    many.append(run_json(gate + [str(int(seconds(1) * 2e6))], CLIENT_CPU)["us"])
figure("gate", "decisions at 20 rules", [1e6 / v for v in ours], "decisions/s", "cedar-wasm 4.13, policy set parsed beforehand" if got["fast"] else
       "cedar-wasm 4.13, policies as text", [1e6 / v for v in peer], target=200, us=percentile(ours, 50), peer_us=percentile(peer, 50))
figure("gate", "time of a decision at 10,000 rules", many, "us", "the same at 20 rules of the same kind", few, target=1.6, at_least=False,
       note="more tenants, not more rules for each: two rules name the tenant and action of a request, at 2 tenants and at 1,000")
