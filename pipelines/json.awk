# json.awk - the members of the JSON object in a line, for stages in awk.
#
#	awk -v stage=NAME -f json.awk -f STAGE.awk
#
# read_row() sets row[KEY] to each member of the object in $0, not of one inside it, as it is written. string(KEY) is a member
# without its quotes, with its escapes; number(KEY) is a number. All stop the stage if that is not so: fail(MESSAGE) names the line
# and exits with 3; as END runs all the same, it begins with `if (failed) exit 3`.

function read_row(    line, key, n) {
	split("", row)
	line = $0
	if (!sub(/^[ \t]*[{]/, "", line))
		fail("not a JSON object")
	while (match(line, /^[ \t]*,?[ \t]*"([^"\\]|\\.)*"[ \t]*:[ \t]*/)) {
		key = substr(line, 1, RLENGTH)
		line = substr(line, RLENGTH + 1)
		sub(/^[^"]*"/, "", key)
		sub(/"[ \t]*:[ \t]*$/, "", key)
		n = extent(line)
		row[key] = substr(line, 1, n)
		line = substr(line, n + 1)
	}
	if (line !~ /^[ \t]*[}][ \t\r]*$/)
		fail("not a JSON object")
}

# How much of a text is the value that it begins with: a string, a word, or all from a bracket to the one that closes it.
function extent(line,    n, depth) {
	if (match(line, /^"([^"\\]|\\.)*"/) || match(line, /^[^][{}",: \t\r]+/))
		return RLENGTH
	n = depth = 0
	while (match(line, /"([^"\\]|\\.)*"|[][{}]/)) {
		depth += substr(line, RSTART, 1) ~ /[[{]/
		depth -= substr(line, RSTART, 1) ~ /[]}]/
		n += RSTART + RLENGTH - 1
		line = substr(line, RSTART + RLENGTH)
		if (depth <= 0)
			return n
	}
	return 0
}

function string(key) {
	if (row[key] !~ /^"/)
		fail("no \"" key "\"")
	return substr(row[key], 2, length(row[key]) - 2)
}

function number(key) {
	if (row[key] !~ /^-?[0-9]/)
		fail("no \"" key "\"")
	return row[key] + 0
}

function fail(message,    place) {
	place = !FNR ? "" : FILENAME ~ /^-?$/ ? "line " FNR ": " : FILENAME ":" FNR ": "
	print stage ": " place message > "/dev/stderr"
	failed = 1
	exit 3
}
