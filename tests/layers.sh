#!/bin/sh
# Checks the house rules of libcore: includes point to strictly lower layers and to no later folder (libcore/LAYERS), a header
# says which they are, nothing there prints, exits, uses a banned call or keeps modifiable static data. Also that lines of
# libcore and cmd have at most 132 columns, and that no condition of a test goes unheard.
set -eu
cd "$(dirname "$0")/.."
BIN=${BIN:-bin}

# What X.h says X uses is what X.h, X.c and X_more.c include. Not of files that are included once for each set of instructions.
awk '
BEGIN {
	for (i = 1; i < ARGC; i++)
		if (ARGV[i] ~ /\.h$/) { name = ARGV[i]; gsub(/.*\/|\.h$/, "", name); header[name] = ARGV[i] }
}
function owner(name) {
	if (!(name in header))
		sub(/_.*/, "", name)
	return name
}
FNR == NR {
	if (NF == 1 && /\/$/) place[folder = $1] = ++folders
	if ($1 !~ /^#/ && NF == 2) { layer[$1] = $2; home[$1] = folder }
	next
}
{
	name = FILENAME; sub(/.*\//, "", name); sub(/\.[ch]$/, "", name)
	if (FILENAME !~ "^libcore/" home[name] name "[.][ch]$") {
		if (!told[name]++) { print FILENAME ": not in libcore/LAYERS"; bad = 1 }
		next
	}
	if ($0 ~ /^#include "/) {
		split($0, part, "\""); used = part[2]; gsub(/.*\/|\.h$/, "", used)
		if (used != name && !(layer[used] + 0 < layer[name] + 0)) {
			print FILENAME ":" FNR ": layer " layer[name] " includes " used " of layer " layer[used]; bad = 1
		}
		if (place[home[used]] > place[home[name]]) {
			print FILENAME ":" FNR ": of " home[name] ", includes " used " of the later " home[used]; bad = 1
		}
		if (name !~ /_avx(2|512)$/ && used != owner(name))
			includes[owner(name), used] = FILENAME ":" FNR
	}
	if (FILENAME ~ /\.h$/ && match($0, /Layer [0-9]+/) && !seen[name]++ &&
	    substr($0, RSTART + 6, RLENGTH - 6) != layer[name]) {
		print FILENAME ":" FNR ": says " substr($0, RSTART, RLENGTH) ", libcore/LAYERS says " layer[name]; bad = 1
	}
}
FNR == 1 { heading = FILENAME ~ /\.h$/ }
heading {
	line = $0; sub(/^ \*/, "", line); says[name] = says[name] " " line
	heading = line !~ /\*\//
}
END {
	for (name in header) {
		if (name ~ /_(loops|kernel)$/)
			continue
		gsub(/ +/, " ", says[name])
		n = match(says[name], /; uses [^.]*\./) ? split(substr(says[name], RSTART + 7, RLENGTH - 7), list, /[^a-z0-9_]+/) : 0
		for (i = 1; i <= n; i++) {
			said[name, list[i]] = 1
			if (list[i] in layer && !((name, list[i]) in includes)) {
				print header[name] ": says it uses " list[i] ", which it does not include"; bad = 1
			}
		}
	}
	for (both in includes) {
		split(both, part, SUBSEP)
		if (part[1] in header && part[1] !~ /_(loops|kernel)$/ && !(both in said)) {
			print includes[both] ": " part[2] " is not among what " part[1] ".h says it uses"; bad = 1
		}
	}
	exit bad
}' libcore/LAYERS libcore/*/*.h libcore/*/*.c

banned='(^|[^_[:alnum:]])(_?exit|_Exit|quick_exit|abort|v?f?printf|v?dprintf|f?puts|f?putc|putchar|perror|psignal|v?sprintf|strcpy|strcat|strtok|atoi|atof|gets|rand|srand|time)[(]'
if grep -nE "$banned" libcore/*/*.c libcore/*/*.h | grep -vE '^[^:]*:[0-9]*:[[:space:]]*(/?\*|//)'; then
	echo "libcore: a banned call"
	exit 1
fi
# What can be written to is in .data or .bss, or in a thread's; constant tables of pointers are in .data.rel.ro.
if ! [ -s "$BIN/libdpo.a" ]; then
	echo "$BIN/libdpo.a is not built"
	exit 1
fi
if objdump -t "$BIN/libdpo.a" | awk '/^[^ ]*:  / { name = $1 } / (\.t?(data|bss)|\*COM\*)/ && !/ d  \.| \.data\.rel\.ro/ { print name, $NF; found = 1 }
    END { exit !found }'; then
	echo "libcore: modifiable static data"
	exit 1
fi
twice=$(grep -hoE '^(struct|enum) dpo_[a-z0-9_]+ \{' libcore/*/*.h | sort | uniq -d)
if [ -n "$twice" ]; then
	echo "libcore: two types of one name: $twice"
	exit 1
fi
# A tab goes to the next multiple of 8.
long=$(awk '{
	n = split($0, part, "\t"); columns = 0
	for (i = 1; i < n; i++) { columns += length(part[i]); columns += 8 - columns % 8 }
	if (columns + length(part[n]) > 132) print FILENAME ":" FNR ": more than 132 columns"
}' libcore/*/*.[ch] cmd/*.[ch])
if [ -n "$long" ]; then
	echo "$long"
	exit 1
fi
if grep -nE '^[[:space:]]+\[.*\]\]? && \[' tests/*/*.bats | grep -v '||'; then
	echo "tests: of conditions joined by && bash lets the first fail: a line for each"
	exit 1
fi
if grep -nE '^[[:space:]]+! ' tests/*/*.bats | grep -v '||'; then
	echo "tests: bash lets a command behind ! fail: say || return 1"
	exit 1
fi
echo "ok 1 layers"
