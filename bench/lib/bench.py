"""bench.py - what the benches share: figures, servers of their own, peers, and CPU time by process.

A figure is printed as one JSON line. Each round gives one value of ours and one of the peer, measured one after the
other (A B A B ...); the ratio is the median of the rounds' ratios, the spread (max - min) / median of them. A spread
above 15 % says "measure again": the machine was not quiet enough for a verdict.
"""
import atexit, hashlib, http.client, json, os, shutil, signal, socket, statistics, subprocess, sys, tempfile, threading, time

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
SECONDS = float(os.environ.get("BENCH_SECONDS", "0"))
BUILD = os.path.abspath(sys.argv[1]) if len(sys.argv) > 1 else "build/release"
HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SOURCE = os.path.dirname(HERE)
CACHE = os.environ.get("OPSCASE_CACHE") or ("/var/cache/opscase" if os.path.isdir("/var/cache/opscase")
                                            else os.path.expanduser("~/.cache/opscase"))
CPUS = sorted(os.sched_getaffinity(0))
SERVER_CPU, CLIENT_CPU = str(CPUS[0]), str(CPUS[-1])
TICK = os.sysconf("SC_CLK_TCK")


def seconds(default):
    return SECONDS or default


def say(text):
    print("# " + text, file=sys.stderr, flush=True)


def program(name):
    return os.path.join(BUILD, "bench", name)


# --- figures

def rounded(v):
    if v is None:
        return None
    return float("%.4g" % v)


def figure(bench, name, values, unit, peer=None, peer_values=None, target=None, at_least=True, note=None, **more):
    """values and peer_values: one per round. target: of the ratio where there is a peer, else of the value."""
    values = [v for v in values if v is not None]
    line = {"bench": bench, "figure": name, "value": rounded(statistics.median(values)), "unit": unit, "peer": peer,
            "peer_value": None, "ratio": None}
    judged = values
    if peer_values:
        ratios = [a / b for a, b in zip(values, peer_values) if b]
        line["peer_value"] = rounded(statistics.median(peer_values))
        line["ratio"] = rounded(statistics.median(ratios))
        judged = ratios
    middle = statistics.median(judged)
    line["spread"] = rounded((max(judged) - min(judged)) / middle) if middle else 0
    line["target"] = target
    line["rounds"] = len(judged)
    if target is not None:
        line["met"] = middle >= target if at_least else middle <= target
        line["wanted"] = "at least" if at_least else "at most"
    line.update({k: (rounded(v) if isinstance(v, float) else v) for k, v in more.items()})
    if note:
        line["note"] = note
    if line["spread"] and line["spread"] > 0.15:
        line["again"] = "spread above 15 %: measure again"
    print(json.dumps(line), flush=True)
    return line


def percentile(values, p):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * p / 100))] if values else None


# --- processes

children = []


def spawn(args, cpu=None, **more):
    if cpu is not None:
        args = ["taskset", "-c", cpu] + args
    child = subprocess.Popen(args, **more)
    children.append(child)
    return child


def stop(child, sig=signal.SIGTERM, timeout=20):
    if child.poll() is None:
        child.send_signal(sig)
        try:
            child.wait(timeout)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


@atexit.register
def stop_all():
    for child in reversed(children):
        stop(child)


signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def run(args, cpu=None, check=True, **more):
    if cpu is not None:
        args = ["taskset", "-c", cpu] + args
    more.setdefault("timeout", 600)
    done = subprocess.run(args, capture_output=True, text=True, **more)
    if check and done.returncode != 0:
        sys.exit("%s: exit code %d\n%s%s" % (args[0], done.returncode, done.stdout[-2000:], done.stderr[-2000:]))
    return done.stdout


def run_json(args, cpu=None, **more):
    """The last line that a round's program prints is its JSON."""
    return json.loads(run(args, cpu, **more).strip().splitlines()[-1])


def family(pid):
    """pid and all processes below it."""
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open("/proc/%s/stat" % entry) as f:
                    parents[int(entry)] = int(f.read().rsplit(")", 1)[1].split()[1])
            except (OSError, IndexError, ValueError):
                pass
    found, more = {pid}, True
    while more:
        more = False
        for child, parent in parents.items():
            if parent in found and child not in found:
                found.add(child)
                more = True
    return found


def cpu_of(pid):
    """CPU seconds of a process, and of its ended and waited-for children."""
    try:
        with open("/proc/%d/stat" % pid) as f:
            part = f.read().rsplit(")", 1)[1].split()
        return (int(part[11]) + int(part[12]) + int(part[13]) + int(part[14])) / TICK
    except OSError:
        return 0.0


def cpu_family(pid):
    return sum(cpu_of(p) for p in family(pid))


def rss_mib(pid):
    with open("/proc/%d/status" % pid) as f:
        for line in f:
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024
    return 0.0


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_port(port, timeout=60, child=None):
    until = time.monotonic() + timeout
    while time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if child is not None and child.poll() is not None:
                sys.exit("a server ended at once with exit code %d" % child.returncode)
            time.sleep(0.05)
    sys.exit("nothing answers on port %d" % port)


# --- servers: PostgreSQL with fsync on, nats-server that syncs each message

class Servers:
    """PostgreSQL (and NATS), private, pinned to the servers' CPU unless told otherwise."""

    def __init__(self, pinned=True, nats=os.environ.get("BENCH_NATS", "nats"), options=""):
        args = [program("bench_servers"), nats or "-", options]
        self.child = spawn(args, SERVER_CPU if pinned else None, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        line = self.child.stdout.readline()
        if not line:
            sys.exit("the servers did not start")
        self.__dict__.update(json.loads(line))
        self.postgres_pid = int(open(self.dir + "/data/postmaster.pid").readline())

    def sql(self, text, role="postgres"):
        return run(["psql", "-h", self.dir, "-U", role, "-d", "opscase", "-XAtq", "-v", "ON_ERROR_STOP=1"], input=text).strip()

    def cpu(self):
        return cpu_family(self.postgres_pid)

    def pgbench(self, script, clients=1, secs=5, cpu=CLIENT_CPU, protocol="prepared", transactions=None, define=(), role="opscase_worker"):
        """transactions per second, and the latencies in ms (sorted) from the log."""
        folder = tempfile.mkdtemp(prefix="opscase-bench-")
        path = folder + "/script.sql"
        with open(path, "w") as f:
            f.write(script)
        args = ["pgbench", "-h", self.dir, "-U", role, "-n", "-M", protocol, "-c", str(clients), "-j", "1", "-f", path,
                "-l", "--log-prefix", folder + "/log"]
        for d in define:
            args += ["-D", d]
        args += ["-t", str(transactions)] if transactions else ["-T", str(max(1, int(secs)))]
        out = run(args + ["opscase"], cpu)
        tps = next(float(l.split("=")[1].split()[0]) for l in out.splitlines() if l.startswith("tps"))
        latencies = []
        for name in os.listdir(folder):
            if name.startswith("log"):
                with open(folder + "/" + name) as f:
                    latencies += [int(l.split()[2]) / 1000 for l in f if l.split()[2].isdigit()]
        shutil.rmtree(folder)
        return tps, sorted(latencies)

    def stop(self):
        stop(self.child)


class Daemon:
    """opscased on Servers, with the roles given; `token` is an operator's of tenant t-bench."""

    def __init__(self, servers, roles="all", settings=(), cpu=None):
        self.servers, self.port = servers, free_port()
        self.token = "oct_" + ("bench" * 9)[:43]
        servers.sql("INSERT INTO api_token (id, tenant_id, name, role, token_hash) VALUES (gen_random_uuid(), %d, 'bench', 'operator',"
                    " decode('%s', 'hex')) ON CONFLICT DO NOTHING" % (servers.tenant, hashlib.sha256(self.token.encode()).hexdigest()))
        self.dir = tempfile.mkdtemp(prefix="opscase-bench-")
        self.log = open(self.dir + "/opscased.log", "w")
        self.args = [BUILD + "/bin/opscased", "--roles=" + roles, "--db.worker=" + servers.worker, "--db.api=" + servers.api,
                     "--http.port=%d" % self.port, "--nats.url=" + (servers.nats or "nats://127.0.0.1:1"), "--log.level=warn",
                     "--data.dir=" + self.dir] + list(settings)
        self.cpus = cpu
        atexit.register(shutil.rmtree, self.dir, ignore_errors=True)
        self.start()

    def start(self):
        self.child = spawn(self.args, self.cpus, stdout=self.log, stderr=self.log)
        self.pid = self.child.pid
        wait_port(self.port, child=self.child)

    def stop(self, sig=signal.SIGTERM):
        stop(self.child, sig)

    def cpu(self):
        return cpu_family(self.pid)

    def http(self, method, path, body=None, headers=()):
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        c.request(method, path, json.dumps(body) if body is not None else None, {"Authorization": "Bearer " + self.token, **dict(headers)})
        r = c.getresponse()
        text = r.read().decode()
        c.close()
        return r.status, text


# --- peers from npm: outside of the work tree, kept between runs

def npm(*packages, node=None):
    """A folder with node_modules of exactly these packages; `node` (a major) brings a newer Node.js."""
    wanted = list(packages) + (["node@%s" % node] if node else [])
    folder = os.path.join(CACHE, "bench-npm", "-".join(p.strip("@").replace("/", "_").replace("@", "-") for p in wanted)[:150])
    if not os.path.exists(folder + "/.ready"):
        say("installing %s into %s" % (" ".join(wanted), folder))
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        with open(folder + "/package.json", "w") as f:
            f.write('{"name":"peers","private":true,"type":"module"}')
        run(["npm", "install", "--no-audit", "--no-fund", "--loglevel=error"] + wanted, cwd=folder)
        open(folder + "/.ready", "w").close()
    return folder


def node_of(folder):
    own = folder + "/node_modules/node/bin/node"
    return own if os.path.exists(own) else "node"
