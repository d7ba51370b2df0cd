"""dashboard.py FILE URL TOKEN - asks every query of a dashboard (Grafana or Perses) as a browser would, over the last hour and a half: each is
answered, and with something to draw."""
import json, sys, time, urllib.parse, urllib.request

file, url, token = sys.argv[1:]
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def ask(path, **form):
    request = urllib.request.Request(url + path, data=urllib.parse.urlencode(form).encode() if form else None,
                                     headers={"Authorization": "Bearer " + token, "Content-Type": "application/x-www-form-urlencoded"})
    with opener.open(request) as answer:
        return json.load(answer)["data"]


def queries(at):
    if isinstance(at, dict):
        for name, value in at.items():
            if name in ("expr", "query") and isinstance(value, str) and "{" in value:
                yield value
            else:
                yield from queries(value)
    elif isinstance(at, list):
        for value in at:
            yield from queries(value)


resources = ask("/api/v1/label/resource/values")
assert resources, "the variable has nothing to choose from"
asked = list(queries(json.load(open(file))))
assert len(asked) >= 4, "a dashboard of %d queries" % len(asked)
now = int(time.time())
for query in asked:
    data = ask("/api/v1/query_range", query=query.replace("$resource", ".*"), start=now - 5400, end=now, step=60)
    points = sum(len(series["values"]) for series in data["result"])
    assert points > 0, "nothing to draw for %s" % query
    print("ok: %d series, %d points: %s" % (len(data["result"]), points, query))
