# bpe.awk - learns a byte-level BPE tokenizer from stories, writes a Hugging Face tokenizer.json
#
#	awk -v size=640 -f bpe.awk text.jsonl > tokenizer.json
#
# The input is what generate.awk prints with mode=text.  The vocabulary of `size` entries is
# that of GPT-2 in small: 256 bytes in its order, then one entry a merge, and <|endoftext|>
# last.  Each merge joins the most frequent pair of neighbours; of pairs as frequent, the one
# with the lower ids.  The output is ASCII: the signs GPT-2 writes bytes with are \u escapes.

BEGIN {
	if (size !~ /^[0-9]+$/ || size < 257)
		die("size is a whole number of at least 257")
	name_bytes()
}

{ count_chunks(completion($0)) }

END {
	if (failed)
		exit 2
	for (i = 1; i <= chunks; i++)
		split_chunk(chunk[i], times[chunk[i]])
	entries = 256
	while (entries < size - 1) {
		find_best_pair()
		merge_pairs(merged_id())
	}
	name[entries] = "<|endoftext|>"
	write_tokenizer()
}

function die(why)
{
	print "bpe.awk: " why | "cat 1>&2"
	failed = 1
	exit 2
}

# ---- bytes and their names ----

# GPT-2 shows a byte that is a visible Latin-1 sign as itself, and the others, in order, as
# the signs from U+0100 on.  The visible ones have the first ids.
function name_bytes(    byte, id)
{
	id = 0
	for (byte = 0; byte < 256; byte++)
		if (visible(byte))
			name_byte(byte, id++, byte)
	for (byte = 0; byte < 256; byte++)
		if (!visible(byte)) {
			name_byte(byte, id, id + 68)
			id++
		}
}

function visible(byte)
{
	return (byte >= 33 && byte <= 126) || (byte >= 161 && byte != 173)
}

function name_byte(byte, id, code_point)
{
	if (byte >= 32 && byte < 127)
		id_of[sprintf("%c", byte)] = id
	if (code_point > 126)
		name[id] = sprintf("\\u%04x", code_point)
	else if (code_point == 34 || code_point == 92)
		name[id] = "\\" sprintf("%c", code_point)
	else
		name[id] = sprintf("%c", code_point)
}

# ---- text to words ----

# The story of one row; generate.awk escapes nothing but the quotation mark.
function completion(row,    piece, pieces, i, story)
{
	if (!match(row, /"completion":".*"}$/))
		die("line " NR " is not a row of text")
	row = substr(row, RSTART + 14, RLENGTH - 16)
	pieces = split(row, piece, "\\\\\"")
	story = piece[1]
	for (i = 2; i <= pieces; i++)
		story = story "\"" piece[i]
	if (story ~ /[^A-Za-z .,!?'"]/ || story ~ /  / || story ~ / $/)
		die("line " NR " has a sign or a space that is not foreseen here")
	return story
}

# Counts what stands between spaces, each with the space before it: no word of GPT-2 reaches
# beyond these in such text, so that the words are looked for once per different chunk.
function count_chunks(story,    piece, pieces, i)
{
	pieces = split(story, piece, " ")
	for (i = 1; i <= pieces; i++)
		count_chunk(i == 1 ? piece[i] : " " piece[i])
}

function count_chunk(text)
{
	if (!(text in times))
		chunk[++chunks] = text
	times[text]++
}

# The words of GPT-2's pattern: 's|'t|'re|'ve|'m|'ll|'d| ?letters| ?other signs
function split_chunk(text, count)
{
	while (text != "") {
		if (!match(text, /^'(s|t|re|ve|m|ll|d)/) && !match(text, /^ ?[A-Za-z]+/))
			match(text, /^ ?[^ A-Za-z]+/)
		add_word(substr(text, 1, RLENGTH), count)
		text = substr(text, RLENGTH + 1)
	}
}

function add_word(text, count,    i)
{
	if (!(text in word_of)) {
		word_of[text] = ++words
		symbols[words] = length(text)
		for (i = 1; i <= length(text); i++)
			symbol[words, i] = id_of[substr(text, i, 1)]
	}
	frequency[word_of[text]] += count
}

# ---- merges ----

# Sets left and right.
function find_best_pair(    w, i, pair, tally, most, ids)
{
	for (w = 1; w <= words; w++)
		for (i = 1; i < symbols[w]; i++)
			tally[symbol[w, i] " " symbol[w, i + 1]] += frequency[w]
	most = 0
	for (pair in tally) {
		if (tally[pair] < most)
			continue
		split(pair, ids, " ")
		if (tally[pair] == most && !before(ids[1] + 0, ids[2] + 0, left, right))
			continue
		most = tally[pair]
		left = ids[1] + 0
		right = ids[2] + 0
	}
	if (most == 0)
		die("the text has too few pairs for a vocabulary of " size)
}

function before(a, b, c, d)
{
	return a < c || (a == c && b < d)
}

# Two merges may spell the same entry (ab+c, a+bc); it has one id.
function merged_id(    spelled)
{
	spelled = name[left] name[right]
	merge[++merges] = name[left] " " name[right]
	if (!(spelled in entry_of)) {
		name[entries] = spelled
		entry_of[spelled] = entries++
	}
	return entry_of[spelled]
}

function merge_pairs(id,    w, i, kept)
{
	for (w = 1; w <= words; w++) {
		kept = 0
		for (i = 1; i <= symbols[w]; i++)
			if (i < symbols[w] && symbol[w, i] == left && symbol[w, i + 1] == right) {
				symbol[w, ++kept] = id
				i++
			} else
				symbol[w, ++kept] = symbol[w, i]
		symbols[w] = kept
	}
}

# ---- tokenizer.json ----

function write_tokenizer(    id, i)
{
	print "{"
	print "  \"version\": \"1.0\","
	print "  \"truncation\": null,"
	print "  \"padding\": null,"
	print "  \"added_tokens\": ["
	print "    {\"id\": " entries ", \"content\": \"" name[entries] "\", \"single_word\": false," \
	    " \"lstrip\": false, \"rstrip\": false, \"normalized\": false, \"special\": true}"
	print "  ],"
	print "  \"normalizer\": null,"
	print "  \"pre_tokenizer\": {\"type\": \"ByteLevel\", \"add_prefix_space\": false," \
	    " \"trim_offsets\": true, \"use_regex\": true},"
	print "  \"post_processor\": null,"
	print "  \"decoder\": {\"type\": \"ByteLevel\", \"add_prefix_space\": false," \
	    " \"trim_offsets\": true, \"use_regex\": true},"
	print "  \"model\": {"
	print "    \"type\": \"BPE\","
	print "    \"dropout\": null,"
	print "    \"unk_token\": null,"
	print "    \"continuing_subword_prefix\": null,"
	print "    \"end_of_word_suffix\": null,"
	print "    \"fuse_unk\": false,"
	print "    \"byte_fallback\": false,"
	print "    \"ignore_merges\": false,"
	print "    \"vocab\": {"
	for (id = 0; id <= entries; id++)
		print "      \"" name[id] "\": " id (id < entries ? "," : "")
	print "    },"
	print "    \"merges\": ["
	for (i = 1; i <= merges; i++)
		print "      \"" merge[i] "\"" (i < merges ? "," : "")
	print "    ]"
	print "  }"
	print "}"
}
