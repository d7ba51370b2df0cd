#!/bin/bash
# test_demo_signal.sh SOURCE BUILD - a slow backend becomes a closed case by itself, and the demo fails where it does not.
src=$1 build=$2

# with nothing learned, nothing is odd: no case, and that is said and is an error
if out=$(OPSCASE_DEMO_WAIT_S=8 bash "$src/deploy/demo/signal.sh" "$build" 1 2>&1); then
	echo "the demo is content without a case"
	echo "$out" | tail -n 60
	exit 1
fi
grep -qF 'no case was opened within 8 seconds of the fault' <<< "$out" || {
	echo "the demo failed in another way"
	echo "$out" | tail -n 60
	exit 1
}

out=$(bash "$src/deploy/demo/signal.sh" "$build" 115 2>&1) || { echo "$out" | tail -n 80; exit 1; }
for line in '(by service:analyst)' 'gateway.flip at urn:gateway:edge/shop: succeeded' 'CLOSED     verify_pass (verified)' \
	'root cause: urn:svc:shop-blue' 'no case in 115 quiet seconds' 'closed by itself, '; do
	grep -qF "$line" <<< "$out" || { echo "the demo does not show: $line"; echo "$out" | tail -n 80; exit 1; }
done
tail -n 1 <<< "$out"
