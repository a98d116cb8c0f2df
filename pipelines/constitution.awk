# constitution.awk - the steps of constitution.mk between the programs: JSON Lines in and out.
#
#	awk -v step=pair -f constitution.awk samples.jsonl			two samples a prompt: a pair, without a label
#	awk -v step=ask -f constitution.awk principles.txt unlabelled.jsonl	for each pair two rows for the judge: its verdicts
#	awk -v step=label -f constitution.awk verdicts.logps unlabelled.jsonl	the pairs with the verdict's probability

function member(key) {
	match($0, "\"" key "\":\"([^\"\\\\]|\\\\.)*\"")
	return substr($0, RSTART + length(key) + 4, RLENGTH - length(key) - 5)
}

# A pair's members but for the closing brace.
function pair(id, prompt, chosen, rejected) {
	return "{\"id\":\"" id "\",\"prompt\":\"" prompt "\",\"chosen\":\"" chosen "\",\"rejected\":\"" rejected "\""
}

# Answers to a rendered prompt (dpo-chat) are alone until the judge has read them, and then whole texts, as dpo-tok wants them.
function whole(    prompt) {
	prompt = member("prompt")
	return pair(member("id"), prompt, prompt member("chosen") member("chosen_eos"), prompt member("rejected") member("rejected_eos")) \
		",\"rendered\":true"
}

step == "pair" && /"sample":0,/ { first = member("completion"); first_eos = member("eos") }
step == "pair" && !/"sample":0,/ && first != member("completion") {
	line = pair(member("id"), member("prompt"), first, member("completion"))
	if (/"rendered":true[,}]/)
		line = line ",\"rendered\":true,\"chosen_eos\":\"" first_eos "\",\"rejected_eos\":\"" member("eos") "\""
	print line "}"
}

step == "ask" && NR == FNR {
	gsub(/\\/, "&&"); gsub(/"/, "\\\""); gsub(/\t/, "\\t"); gsub(/\r/, "")
	principles = principles (NR > 1 ? "\\n" : "") $0
	next
}
step == "ask" {
	text = principles "\\n\\nQuestion: " member("prompt") "\\n\\nAnswer A:" member("chosen") "\\n\\nAnswer B:" member("rejected") \
		"\\n\\nThe better answer is"
	printf "{\"prompt\":\"%s\",\"completion\":\" A\"}\n{\"prompt\":\"%s\",\"completion\":\" B\"}\n", text, text
}

step == "label" && NR == FNR {
	if (match($0, /"ref_chosen_logps":\[[^],]*/))
		logp[n++] = substr($0, RSTART + 20, RLENGTH - 20) + 0
	next
}
step == "label" {
	line = /"rendered":true[,}]/ ? whole() : substr($0, 1, length($0) - 1)
	printf "%s,\"label_prob\":%.9g}\n", line, 1 / (1 + exp(logp[2 * k + 1] - logp[2 * k]))
	k++
}
