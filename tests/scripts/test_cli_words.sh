#!/bin/bash
# test_cli_words.sh SOURCE_DIR BUILD_DIR - the command line without a server: help, mistakes, exit codes, completion,
# printed pages.
set -u
source=$1 build=$2
opscase=$build/bin/opscase
failed=0
unset OPSCASE_URL OPSCASE_TOKEN OPSCASE_TENANT OPSCASE_CONFIG
export OPSCASE_DATA=/nonexistent/opscase NO_COLOR=1
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

check() { # WHAT TEST...
	local what=$1
	shift
	if "$@"; then echo "ok    $what"; else
		echo "WRONG $what"
		failed=1
	fi
}
# EXIT_CODE WORDS ARGS...: ends with that code and says these words (an extended pattern) somewhere
says() {
	local code=$1 words=$2 rc
	shift 2
	"$opscase" "$@" > "$out/said" 2>&1 < /dev/null
	rc=$?
	check "opscase $* → $code, $words" test "$rc" = "$code"
	grep -Eq -- "$words" "$out/said" || {
		echo "WRONG opscase $* did not say '$words' but:"
		cat "$out/said"
		failed=1
	}
}

says 0 'opscase turns a signal into a case'
says 0 'case approve ID' --help
says 0 '^opscase [0-9]' --version
says 0 'approve what the gate asks' help case approve
says 0 '--as approver' case approve --help
says 0 'case timeline ID' case --help
says 64 'case timeline ID' case

# mistakes name what was meant
says 64 'did you mean .opscase case approve' case aprove 1
says 64 'did you mean .opscase case list' cse list
says 64 'did you mean --status' case list --statsu NEW
says 64 'there is no command .frobnicate' frobnicate
says 64 'something is missing: opscase case show ID' case show
says 64 'that is too much' case show 1 2
says 64 'needs a value' case list --limit
says 64 'takes no value' case list --json=1
says 64 'number from 1 to 100000' case list --limit 0 --url http://127.0.0.1:9
says 64 'may be text, markdown, mermaid, dot or matrix' fsm --format pdf
says 64 'how shall it go on' case resume 1
says 64 'one way to resume' case resume 1 replan --rollback
says 64 'needs --reason' case reject 1
says 64 'needs --reason' case settle 1 applied
says 64 'applied. or .not_applied' case settle 1 perhaps --reason x
says 64 'needs --resolution: fixed_by_hand' case close 1 --reason x
says 64 'which --role' token create bob
OPSCASE_TOKEN=x says 64 'is no id of a case' case show 17 --url http://127.0.0.1:9
says 64 'takes the name of a token' case show 17 --url http://127.0.0.1:9 --as nobody/x
says 64 'down to which version' migrate down
says 64 'say --yes' migrate down --to 0
says 65 "there is no setting 'http.prot'; did you mean 'http.port'" settings --http.prot=1
says 65 "http.port = '70000' does not fit: a number from 0 to 65535" up --http.port=70000
says 65 'brings its own PostgreSQL' up --db.api=host=x
says 65 'no line of an export' audit verify "$0"

says 69 '^\{"error":\{"kind":"UNAVAILABLE","exit":69,' case list --json

# nobody there: what to do next, and a code that says so
says 69 'start it with .opscase up' case list
OPSCASE_TOKEN=x says 69 'nobody answers at http://127.0.0.1:9' case list --url http://127.0.0.1:9
says 77 'no token: set OPSCASE_TOKEN' case list --url http://127.0.0.1:9
says 66 'nothing runs on' down
says 66 'which database' migrate status

# every command has help and is found by it
"$opscase" help --format markdown > "$out/cli.md"
while read -r command; do
	# shellcheck disable=SC2086
	"$opscase" help $command > "$out/said" 2>&1 || check "help $command" false
done < <(sed -n 's/^## opscase \([a-z ]*[a-z]\).*/\1/p' "$out/cli.md")

# what the API tells people to type is something that they can type
while read -r path; do
	# shellcheck disable=SC2086
	"$opscase" help ${path#opscase } > "$out/said" 2>&1 && grep -q "^$path" "$out/said"
	check "the API says '$path', and it is there" test $? = 0
done < <(grep -o '"opscase case [a-z]*' "$source"/api/*.c | sed 's/.*"//' | sort -u)

# the pages in docs/ are what the tables say
check "docs/cli.md is printed (opscase help --format markdown)" diff -u "$source/docs/cli.md" "$out/cli.md"
"$opscase" settings --format markdown > "$out/settings.md"
check "docs/settings.md is printed (opscase settings --format markdown)" diff -u "$source/docs/settings.md" "$out/settings.md"

# completion is a program that runs
for shell in bash zsh; do "$opscase" completion $shell > "$out/completion.$shell" || failed=1; done
complete_with() { # WORDS...: what bash would offer for the last one
	bash -c 'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _opscase; printf "%s\n" "${COMPREPLY[@]}"' _ \
		"$out/completion.bash" "$@"
}
check "completion of a noun" grep -qx case <(complete_with opscase ca)
check "completion of a verb" test "$(complete_with opscase case app)" = approve
check "completion of an option" grep -qx -- --rollback <(complete_with opscase case resume --ro)
check "completion knows every command" test "$(complete_with opscase "" | wc -l)" = \
	"$(sed -n 's/^## opscase \([a-z]*\).*/\1/p' "$out/cli.md" | sort -u | wc -l)"

# JSON and sizes
check "version as JSON" jq -e .version <("$opscase" version --json) > /dev/null
says 0 '^http.port = 8080  # default' settings
OPSCASE_HTTP_PORT=81 says 0 '^http.port = 81  # environment' settings

# local commands on what is shipped
says 0 'nothing to say' runbook lint "$source"/runbooks/*.yaml
says 0 'rules, version' policy lint "$source/policies"
says 0 ' 0 failed' policy test --policies "$source/policies" "$source"/policies/tests/*.yaml
says 0 'gateway.flip' adapter list
says 0 'stateDiagram' fsm --format mermaid
printf 'name: x\nplan: {}\n' > "$out/bad.yaml"
says 65 'bad.yaml' runbook lint "$out/bad.yaml"
head -c 100 /dev/urandom > "$out/bad.so"
says 65 'bad.so' adapter check "$out/bad.so"

exit $failed
