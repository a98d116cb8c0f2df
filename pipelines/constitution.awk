# constitution.awk - the steps of constitution.mk between the programs: JSON Lines in and out.
#
#	awk -f json.awk -v step=pair -f constitution.awk samples.jsonl	two samples a prompt: a pair, without a label
#	... -v step=ask ... principles.txt unlabelled.jsonl		for each pair, in both orders, two rows for the judge: its verdicts
#	... -v step=label ... verdicts.logps unlabelled.jsonl		the pairs with the verdicts' probability

BEGIN { stage = "constitution" }

# A pair's members but for the closing brace.
function pair(id, prompt, chosen, rejected) {
	return "{\"id\":\"" id "\",\"prompt\":\"" prompt "\",\"chosen\":\"" chosen "\",\"rejected\":\"" rejected "\""
}

# Answers to a rendered prompt (dpo-chat) are alone until the judge has read them, and then whole texts, as dpo-tok wants them.
function whole(    prompt) {
	prompt = string("prompt")
	return pair(string("id"), prompt, prompt string("chosen") string("chosen_eos"), prompt string("rejected") string("rejected_eos")) \
		",\"rendered\":true"
}

# By dpo-chat, all of it or, of a prompt with answers that are plain text, the prompt alone.
function rendered() {
	return row["rendered"] ~ /^(true|"prompt")$/
}

function eos() {
	return "eos" in row ? string("eos") : ""
}

step == "pair" {
	read_row()
	if (number("sample") == 0) { first = string("completion"); first_eos = eos() }
	else if (string("completion") != first) {
		line = pair(string("id"), string("prompt"), first, string("completion"))
		if (rendered())
			line = line ",\"rendered\":true,\"chosen_eos\":\"" first_eos "\",\"rejected_eos\":\"" eos() "\""
		print line "}"
	}
}

# The two verdicts on answers in this order. Their ids are the pair's number, the order's, and the verdict.
function ask(id, a, b,    text) {
	text = principles "\\n\\nQuestion: " string("prompt") "\\n\\nAnswer A:" a "\\n\\nAnswer B:" b "\\n\\nThe better answer is"
	printf "{\"id\":\"%s A\",\"prompt\":\"%s\",\"completion\":\" A\"}\n", id, text
	printf "{\"id\":\"%s B\",\"prompt\":\"%s\",\"completion\":\" B\"}\n", id, text
}

step == "ask" && FILENAME == ARGV[1] {
	gsub(/\\/, "&&"); gsub(/"/, "\\\""); gsub(/\t/, "\\t"); gsub(/\r/, "")
	principles = principles (NR > 1 ? "\\n" : "") $0
	next
}
step == "ask" {
	read_row()
	ask(FNR " 1", string("chosen"), string("rejected"))
	ask(FNR " 2", string("rejected"), string("chosen"))
}

# Log-odds of the first answer; each verdict's log-prob is that of its first token.
function odds(id) {
	if (!((id " A") in logp && (id " B") in logp))
		fail("no verdicts on this pair")
	return logp[id " A"] - logp[id " B"]
}

step == "label" && FILENAME == ARGV[1] {
	read_row()
	if ("ref_chosen_logps" in row)
		logp[string("id")] = substr(row["ref_chosen_logps"], 2) + 0
	next
}
step == "label" {
	read_row()
	line = rendered() ? whole() : substr($0, 1, length($0) - 1)
	first = odds(FNR " 1"); second = odds(FNR " 2")
	printf "%s,\"label_prob\":%.9g}\n", line, 1 / (1 + exp((second - first) / 2))
	judged++; decided += first != 0 || second != 0
}

END {
	if (failed)
		exit 3
	if (judged && !decided) {
		print "constitution: the judge decides nothing: its \" A\" and \" B\" begin with the same token" > "/dev/stderr"
		exit 3
	}
}
