#!/bin/sh
# Checks the house rules of libcore: includes point to strictly lower layers (libcore/LAYERS), nothing there prints,
# exits, uses a banned call or keeps modifiable static data. And that no condition of a test goes unheard.
set -eu
cd "$(dirname "$0")/.."

awk '
FNR == NR { if ($1 !~ /^#/ && NF == 2) layer[$1] = $2; next }
{
	name = FILENAME; sub(/.*\//, "", name); sub(/\.[ch]$/, "", name)
	if (!(name in layer)) { if (!told[name]++) { print FILENAME ": not in libcore/LAYERS"; bad = 1 } next }
	if ($0 ~ /^#include "/) {
		split($0, part, "\""); used = part[2]; sub(/\.h$/, "", used)
		if (used != name && !(layer[used] + 0 < layer[name] + 0)) {
			print FILENAME ":" FNR ": layer " layer[name] " includes " used " of layer " layer[used]; bad = 1
		}
	}
	if (FILENAME ~ /\.h$/ && match($0, /Layer [0-9]+/) && !seen[name]++ &&
	    substr($0, RSTART + 6, RLENGTH - 6) != layer[name]) {
		print FILENAME ":" FNR ": says " substr($0, RSTART, RLENGTH) ", libcore/LAYERS says " layer[name]; bad = 1
	}
}
END { exit bad }' libcore/LAYERS libcore/*.h libcore/*.c

banned='(^|[^_[:alnum:]])(exit|_exit|abort|printf|puts|putchar|perror|fprintf|strcpy|strcat|sprintf|strtok|atoi|atof|gets|rand|srand|time)[(]'
if grep -nE "$banned" libcore/*.c libcore/*.h | grep -vE '^[^:]*:[0-9]*:[[:space:]]*(/?\*|//)'; then
	echo "libcore: a banned call"
	exit 1
fi
if grep -nE '^[[:space:]]*static [^(]*(=|;)' libcore/*.c libcore/*.h | grep -vE 'static (inline )?(const|_Thread_local const)|const [^=]*=|static const'; then
	echo "libcore: modifiable static data"
	exit 1
fi
if grep -nE '^[[:space:]]+\[.*\]\]? && \[' tests/*/*.bats | grep -v '||'; then
	echo "tests: of conditions joined by && bash lets the first fail: a line for each"
	exit 1
fi
echo "ok 1 layers"
