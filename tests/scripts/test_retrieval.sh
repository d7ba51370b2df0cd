#!/bin/bash
# Are pages found by questions in other words? On public question sets, where they are there ($OPSCASE_DATA, else
# ../shared/data); skipped with that reason where they are not. The limits are those of docs/knowledge.md.
set -euo pipefail
source=$1 build=$2
data=${OPSCASE_DATA:-$source/../shared/data}
[ -d "$data/retrieval_bench" ] || {
	echo "skipped: no question sets in $data (set OPSCASE_DATA)"
	exit 0
}
failed=0

# questions, corpus, least recall@5 of all fused, of words alone, of the embedding alone
measure() {
	local out
	out=$("$build/bin/opscase-retrieval" "$data" "retrieval_bench/$1" "$2")
	echo "$1:"
	echo "$out"
	for limit in "fused $3" "words $4" "embedding $5"; do
		read -r ranking least <<< "$limit"
		sed -n "s/.*\"ranking\":\"$ranking\".*\"recall_5\":\([0-9.]*\).*/\1/p" <<< "$out" | grep -q . ||
			{ echo "no figure for $ranking"; failed=1; continue; }
		awk -v got="$(sed -n "s/.*\"ranking\":\"$ranking\".*\"recall_5\":\([0-9.]*\).*/\1/p" <<< "$out")" \
			-v least="$least" 'BEGIN { exit !(got + 0 >= least) }' ||
			{ echo "recall@5 of $ranking is below $least"; failed=1; }
	done
}
measure A_openshift_meaning_to_promop.jsonl retrieval_bench/A_distractor_corpus.txt 0.98 0.97 0.90
measure B_itbench_description_to_fault.jsonl itbench_sre 0.65 0.56 0.56
measure C_openshift_impact_to_page.jsonl runbooks_openshift 0.82 0.74 0.65
exit $failed
