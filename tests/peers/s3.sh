#!/bin/bash
# s3.sh FOLDER BUCKET - a private S3 server (s3rver from npm) for a test. Prints "port N" when it answers, or "skip WHY". Then it reads
# words from standard input: `fail` (503 SlowDown to everything), `ok`; its end is the server's end.
set -uo pipefail
folder=${1:?folder} bucket=${2:?bucket}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
package=s3rver@3.7.1
if [ -n "${OPSCASE_CACHE:-}" ]; then cache=$OPSCASE_CACHE
elif [ -d /var/cache/opscase ]; then cache=/var/cache/opscase
else cache=${HOME:-/tmp}/.cache/opscase; fi
peer=$cache/test-npm/${package//@/-}

command -v node > /dev/null && command -v npm > /dev/null || { echo "skip there is no node and npm"; exit 0; }
if [ ! -e "$peer/.ready" ]; then
	mkdir -p "$peer" || { echo "skip $peer cannot be made"; exit 0; }
	exec 9>> "$peer/.lock"
	flock 9
	if [ ! -e "$peer/.ready" ]; then
		echo '{"name":"peer","private":true}' > "$peer/package.json"
		(cd "$peer" && timeout 120 npm install --no-audit --no-fund --ignore-scripts --loglevel=error --fetch-retries=1 "$package") > "$peer/install.log" 2>&1 ||
			{ echo "skip $package cannot be installed (no network?)"; exit 0; }
		touch "$peer/.ready"
	fi
	exec 9>&-
fi
# its lists of more than a page need a cipher that OpenSSL 3 calls legacy
exec node --openssl-legacy-provider "$here/s3.mjs" "$peer" "$folder" "$bucket"
