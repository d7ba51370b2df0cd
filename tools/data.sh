# Where the labelled data lies: $OPSCASE_DATA, else ../shared/data beside the source. Sourced with the source root as $1; a set that is
# absent ends the script with 77 and the reason, which CTest calls skipped.
data_set() {
	local dir=${OPSCASE_DATA:-$1/../shared/data}/$2

	if [ ! -d "$dir" ]; then
		echo "skipped: no $2 under ${OPSCASE_DATA:-../shared/data}" >&2
		exit 77
	fi
	echo "$dir"
}
