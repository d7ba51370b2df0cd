#!/bin/bash
# The demonstration closes its loop, on a real nginx, and says so by its exit code.
src=$1 build=$2
out=$(bash "$src/deploy/demo/run.sh" "$build" 2>&1) || { echo "$out" | tail -n 60; exit 1; }
for line in 'CLOSED     verify_pass (verified)' 'PARKED     verify_failed (verify_failed)' 'PARKED     verify_pass (rolled_back)' \
	'may not approve it (self_approval: deny)' 'the loop closed, in'; do
	grep -qF "$line" <<< "$out" || { echo "the demo does not show: $line"; echo "$out" | tail -n 60; exit 1; }
done
tail -n 1 <<< "$out"
