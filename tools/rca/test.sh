#!/bin/bash
# The root cause search, one method and one configuration, on the labelled faults; with the onset known late, and
# with all lists shuffled. The limits lie a little under what was measured, see docs/analyst.md.
set -euo pipefail
. "$1/tools/data.sh"
sock=$(data_set "$1" rcd_sockshop) || exit $?
pet=$(data_set "$1" petshop) || exit $?
nezha=$(data_set "$1" nezha) || exit $?

# at_least LINE NAME LIMIT [NAME LIMIT]...
at_least() {
	echo "$1"
	for ((i = 2; i < $#; i += 2)); do
		next=$((i + 1))
		awk -v name="${!i}" -v least="${!next}" '{ for (i = 1; i < NF; i++) if ($i == name) x = $(i + 1) }
			END { if (x == "" || x < least) { print name " " x " is below " least; exit 1 } }' <<<"$1"
	done
}
at_least "$("$2/tools/measure_rca" sockshop "$sock")" AC@1 0.98 Avg@5 0.98
at_least "$("$2/tools/measure_rca" sockshop "$sock" --late 60)" AC@1 0.95 Avg@5 0.95
calm=$("$2/tools/measure_rca" petshop "$pet")
at_least "$calm" AC@1 0.60 AC@3 0.90
[ "$(awk '{ print $NF }' <<<"$calm")" -le 4 ] || { echo "answers on quiet windows"; exit 1; }
[ "$("$2/tools/measure_rca" petshop "$pet" --shuffle 7)" = "$calm" ] || { echo "the order of the rows matters"; exit 1; }
at_least "$("$2/tools/measure_rca" onlineboutique "$nezha")" AC@1 0.70 AC@3 0.83
at_least "$("$2/tools/measure_rca" trainticket "$nezha")" AC@1 0.60 AC@3 0.85
