# generate.awk - little stories from grammar.txt, as JSON Lines
#
#	awk -v mode=text  -v n=20000 -v seed=1 -f generate.awk grammar.txt
#	awk -v mode=pairs -v n=200 -v seed=3 -v part=heldout -f generate.awk grammar.txt
#
# mode=text prints {"prompt":"","completion":STORY}, half of the stories happy and half sad.
# mode=pairs prints {"id","prompt","chosen","rejected"}: one beginning, a happy and a sad rest.
# part=train and part=heldout share no prompt: every prompt names its hero and what kind of
# creature that is, and of these couples one in five is kept for heldout.  Rows are unique.
#
# The same options give the same bytes in every POSIX awk.  awk's own rand() would not.

BEGIN {
	if (mode != "text" && mode != "pairs")
		die("mode is text or pairs")
	if (part == "")
		part = "train"
	if (part != "train" && part != "heldout")
		die("part is train or heldout")
	if (n !~ /^[0-9]+$/ || seed !~ /^[0-9]+$/)
		die("n and seed are whole numbers")
}

/^#/ || /^$/	{ next }
/^[:@]/		{ rule = substr($0, 2); once[rule] = /^@/; next }
		{ line[rule, ++lines[rule]] = $0 }

END {
	if (failed)
		exit 2
	if (lines["names"] < 2 || lines["kinds"] < 3)
		die("this grammar has no cast")
	seed_random(seed)
	for (row = 1; row <= n; row++)
		if (mode == "text")
			print text_row()
		else
			print pair_row(row)
}

function die(why)
{
	print "generate.awk: " why | "cat 1>&2"
	failed = 1
	exit 2
}

# ---- chance ----

# The generator of Park and Miller with the factor 48271: every product stays below 2^47,
# so a double holds it exactly.  Close seeds begin alike; a few steps part them.
function seed_random(seed,    i)
{
	state = seed % 2147483646 + 1
	for (i = 0; i < 8; i++)
		draw(2)
}

# A whole number from 0 to n - 1.
function draw(n)
{
	state = (state * 48271) % 2147483647
	return state % n
}

function pick(rule)
{
	if (!(rule in lines))
		die("no rule <" rule ">")
	return line[rule, 1 + draw(lines[rule])]
}

# ---- the cast of one story ----

# Chooses hero and friend, no two alike, and forgets what the last story had fixed.
function cast(    hero, friend, kind, fkind)
{
	do {
		hero = draw(lines["names"])
		kind = draw(lines["kinds"])
	} while (((hero + kind) % 5 == 0) != (part == "heldout"))
	do
		friend = draw(lines["names"])
	while (friend == hero)
	do
		fkind = draw(lines["kinds"])
	while (fkind == kind || line["kinds", 1 + fkind] == "child")

	split("", said)
	split(line["names", 1 + hero], name_gender, " ")
	said["hero"] = name_gender[1]
	pronouns("", name_gender[2])
	said["kind"] = line["kinds", 1 + kind]
	if (said["kind"] == "child")
		said["kind"] = name_gender[2] == "m" ? "boy" : "girl"

	split(line["names", 1 + friend], name_gender, " ")
	said["fname"] = name_gender[1]
	pronouns("f", name_gender[2])
	said["fkind"] = line["kinds", 1 + fkind]
}

function pronouns(prefix, gender)
{
	said[prefix "he"] = gender == "m" ? "he" : "she"
	said[prefix "him"] = gender == "m" ? "him" : "her"
	said[prefix "his"] = gender == "m" ? "his" : "her"
}

# ---- the grammar ----

# Expands from left to right, so that the first mention of anything is the first one read.
function expand(s,    done, sort, end, inner)
{
	done = ""
	while (match(s, /[<(]/)) {
		done = done substr(s, 1, RSTART - 1)
		sort = substr(s, RSTART, 1)
		s = substr(s, RSTART + 1)
		end = index(s, sort == "<" ? ">" : ")")
		inner = substr(s, 1, end - 1)
		s = (sort == "<" ? name_text(inner) : one_part(inner)) substr(s, end + 1)
	}
	return done s
}

function one_part(parts,    part_of, count)
{
	count = split(parts, part_of, "|")
	return part_of[1 + draw(count)]
}

function name_text(name)
{
	if (name in said)
		return said[name]
	if (name == "friend") {
		said["friend"] = said["fname"]
		return pick("meet")
	}
	if (once[name])
		return said[name] = pick(name)
	return pick(name)
}

# Capitals at the start of sentences, and "an" before a vowel.
function polish(s,    done)
{
	s = toupper(substr(s, 1, 1)) substr(s, 2)
	done = ""
	while (match(s, /[.!?]"? [a-z]/)) {
		done = done substr(s, 1, RSTART + RLENGTH - 2)
		s = toupper(substr(s, RSTART + RLENGTH - 1, 1)) substr(s, RSTART + RLENGTH)
	}
	s = done s
	done = ""
	while (match(s, /(^| )[Aa] [aeiouAEIOU]/)) {
		done = done substr(s, 1, RSTART + RLENGTH - 3) "n "
		s = substr(s, RSTART + RLENGTH - 1)
	}
	return done s
}

# ---- stories ----

# Casts a story and returns its first two or three sentences; the rest waits for rest_of().
function begin_story()
{
	cast()
	plot = pick("plots")
	return polish(expand("<opening> <" plot ".setup>"))
}

# What goes on whatever the mood, or nothing.
function middle()
{
	return draw(3) < 2 ? expand(" <" plot ".then>") : ""
}

# One story in four looks for a moment as if it went the other way; one in two says how it feels.
function rest_of(between, mood,    doubt, feel)
{
	doubt = draw(4) == 0 ? " <" mood ".doubt>" : ""
	feel = draw(2) ? " <" mood ".feel>" : ""
	between = between expand(doubt " <" plot "." mood ">" feel " <" mood ".end>")
	return " " polish(substr(between, 2))
}

function text_row(    story)
{
	do {
		story = begin_story()
		story = story rest_of(middle(), draw(2) ? "happy" : "sad")
	} while (story in seen)
	seen[story] = 1
	return "{\"prompt\":\"\",\"completion\":" json(story) "}"
}

# In half of the pairs the two answers share their middle and part only after it.
function pair_row(row,    prompt, shared, between, so_far, chosen, rejected)
{
	do
		prompt = begin_story()
	while (prompt in seen)
	seen[prompt] = 1

	shared = draw(2)
	between = shared ? middle() : ""
	copy(said, so_far)
	chosen = rest_of(shared ? between : middle(), "happy")
	copy(so_far, said)
	rejected = rest_of(shared ? between : middle(), "sad")
	return "{\"id\":" json(part "-" row) ",\"prompt\":" json(prompt) \
	    ",\"chosen\":" json(chosen) ",\"rejected\":" json(rejected) "}"
}

function copy(from, to,    key)
{
	split("", to)
	for (key in from)
		to[key] = from[key]
}

# The stories hold nothing that JSON escapes but the quotation mark.
function json(s,    piece, pieces, i, quoted)
{
	pieces = split(s, piece, "\"")
	quoted = piece[1]
	for (i = 2; i <= pieces; i++)
		quoted = quoted "\\\"" piece[i]
	return "\"" quoted "\""
}
