#!/bin/sh
# Builds hello.so here. CC and CFLAGS as usual; OPSCASE_INCLUDE is the folder that has opscase/adapter.h.
set -eu
cd "$(dirname "$0")"
# the manifest as C text, a line at a time
sed 's/[\\"]/\\&/g; s/.*/"&\\n"/' hello.json > manifest.inc
# shellcheck disable=SC2046,SC2086 # words, not one word
${CC:-cc} -std=c11 ${CFLAGS:--O2 -g -Wall -Wextra -Werror} -fPIC -shared -fvisibility=hidden \
	-I "${OPSCASE_INCLUDE:-/usr/include}" -o hello.so hello.c $(pkg-config --cflags --libs jansson)
