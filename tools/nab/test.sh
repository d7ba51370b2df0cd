#!/bin/bash
# The detectors as shipped on the labelled series: at least 65 of 100, and nothing on the series without anomaly.
set -euo pipefail
. "$1/tools/data.sh"
dir=$(data_set "$1" nab) || exit $?
"$2/tools/measure_nab" "$dir" | tee /dev/stderr | awk '
	$1 == "standard" { score = $2 }
	/on the quiet ones$/ { quiet = $(NF - 4); files = $1 }
	END { if (files < 1 || score < 65 || quiet != 0) { print "below the aim: " score ", " quiet " on quiet series"; exit 1 } }'
