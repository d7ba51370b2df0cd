#!/bin/bash
# Every command that a step of the case may ask for (domain/ask.def) is heard by exactly one role, and that role is
# started by opscased.
src=$1
bad=0
for topic in $(grep -o '"cmd\.[a-z.]*"' "$src/domain/ask.def" | tr -d '"' | sort -u); do
	roles=$(grep -lE "topics *= *\{[^}]*\"$topic\"" "$src"/{planner,gatekeeper,executor,verifier,analyst,librarian,orchestrator}/*.c)
	if [ "$(echo "$roles" | grep -c .)" -ne 1 ]; then
		echo "$topic is heard by: ${roles:-nobody}"
		bad=1
	fi
done
for call in analyst_role planner_role gate_role executor_role executor_cancel_role verifier_role notify_role librarian_role; do
	grep -q "$call(" "$src/apps/opscased/service.c" || { echo "opscased does not start $call"; bad=1; }
done
[ $bad -eq 0 ] && echo "every ask has its consumer"
exit $bad
