#!/bin/bash
# The world of this adapter: a folder with one file in it. Nothing runs, so there is nothing to stop.
set -eu
case $1 in
start)
	mkdir "$2/world"
	echo closed > "$2/world/banner"
	touch -d '1 hour ago' "$2/world/banner"
	printf '{"config":{"dir":"%s/world"},"secrets":{},"vars":{}}\n' "$2"
	;;
stop) ;;
state) cd "$2/world" && grep -H '' -- * ;;
# Each write takes the file's place, so a file younger than the fixture is one effect.
effects) find "$2/world" -type f -mmin -30 | wc -l ;;
esac
