#!/bin/bash
# test_cli_audit.sh SOURCE_DIR BUILD_DIR - `opscase audit verify` finds every way of touching a chain, and says what it
# cannot prove. The chains are made here, by other means than the product's.
set -u
build=$2
opscase=$build/bin/opscase
failed=0
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
export NO_COLOR=1

python3 - "$dir/good" << 'END'
import hashlib, json, sys
lines = [{"type": "export", "format": 1}]
for case, rows in (("01900000-0000-7000-8000-000000000001", 4), ("01900000-0000-7000-8000-000000000002", 2)):
    head, out = b"", []
    for seq in range(1, rows + 1):
        canonical = json.dumps({"case": case, "event": "e%d" % seq, "seq": seq}, sort_keys=True, separators=(",", ":"))
        head = hashlib.sha256(head + canonical.encode()).digest()
        out.append({"type": "row", "case": case, "seq": seq, "hash": head.hex(), "canonical": canonical})
    lines += [{"type": "head", "case": case, "seq": rows, "hash": head.hex()}] + out
open(sys.argv[1], "w").write("".join(json.dumps(l) + "\n" for l in lines))
END

# CODE WORDS FILE [ARGS...]
verify() {
	local code=$1 words=$2 rc
	shift 2
	"$opscase" audit verify "$@" > "$dir/said" 2>&1
	rc=$?
	if [ "$rc" = "$code" ] && grep -Eq -- "$words" "$dir/said"; then echo "ok    $words"; else
		echo "WRONG exit code $rc, not $code with '$words':"
		cat "$dir/said"
		failed=1
	fi
}

verify 0 '^holds: 2 cases, 6 rows' "$dir/good"
verify 0 'not proven without a checkpoint' "$dir/good"
sed 's/e2/eX/' "$dir/good" > "$dir/changed"
verify 65 'row 2 does not have the hash' "$dir/changed"
grep -v '"seq": 3, ' "$dir/good" > "$dir/missing"
verify 65 'after row 2 comes row 4' "$dir/missing"
grep -v '"row".*0001.*"seq": 4' "$dir/good" > "$dir/cut"
verify 65 'the case says 4 rows, the export has 3' "$dir/cut"
{ grep -v '"seq": 2, .*e2' "$dir/good"; grep '"seq": 2, .*e2' "$dir/good"; } > "$dir/moved"
verify 65 'comes row' "$dir/moved"
sed '/"row".*0002/s/000000000002/000000000001/g' "$dir/good" > "$dir/stolen"
verify 65 'broken' "$dir/stolen"
sed '/"row"/d' "$dir/good" > "$dir/heads"
verify 65 'it is a checkpoint' "$dir/heads"
: > "$dir/empty"
verify 65 'is empty' "$dir/empty"
verify 66 'cannot be read' "$dir/nothing"

# rewritten as a whole: only a checkpoint knows
verify 0 'proven by the checkpoint: .* in 2 cases' "$dir/good" --checkpoint "$dir/heads"
python3 - "$dir/good" "$dir/rewritten" << 'END'
import hashlib, json, sys
head, out = {}, []
for line in map(json.loads, open(sys.argv[1])):
    if line["type"] == "row":
        line["canonical"] = line["canonical"].replace("e1", "eX")
        digest = hashlib.sha256(head.get(line["case"], b"") + line["canonical"].encode()).digest()
        head[line["case"]] = digest
        line["hash"] = digest.hex()
    out.append(line)
for line in out:
    if line["type"] == "head":
        line["hash"] = head[line["case"]].hex()
open(sys.argv[2], "w").write("".join(json.dumps(l) + "\n" for l in out))
END
verify 0 '^holds' "$dir/rewritten"
verify 65 'rewritten since the checkpoint' "$dir/rewritten" --checkpoint "$dir/heads"
grep -v 000000000002 "$dir/good" > "$dir/taken"
verify 0 '^holds: 1 case,' "$dir/taken"
verify 65 'was there at the checkpoint and is not' "$dir/taken" --checkpoint "$dir/heads"

exit $failed
