#!/bin/bash
# A folder that scripts may write to; nothing runs.
set -eu
case $1 in
start)
	mkdir -p "$2/world" "$2/marks"
	: > "$2/world/effects"
	printf '{"config":{"state_dir":"%s/marks","write_paths":["%s/world"]},"secrets":{},"vars":{"world":"%s/world"}}\n' "$2" "$2" "$2"
	;;
stop) ;;
state) (cd "$2/world" && find . -type f ! -name effects | sort | xargs -r grep -H "") || true ;;
effects) wc -l < "$2/world/effects" ;;
esac
