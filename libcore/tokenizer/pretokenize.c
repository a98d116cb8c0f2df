#include "tokenizer/pretokenize.h"

#include "base/json.h"
#include "base/size.h"
#include "base/utf8.h"
#include "tokenizer/regex.h"

#include <stdlib.h>
#include <string.h>

enum kind { BYTE_LEVEL, METASPACE, SPLIT };
enum prepend { ALWAYS, FIRST, NEVER };
enum behavior { ISOLATED, REMOVED, MERGED_WITH_PREVIOUS, MERGED_WITH_NEXT, CONTIGUOUS, BEHAVIORS };

struct dpo_pretokenizer_step {
	enum kind kind;
	struct dpo_regex *regex;	/* owned; NULL: no split, or one by `string` */
	char *string;			/* owned; SPLIT by a string; METASPACE: the replacement */
	size_t string_bytes;
	enum behavior behavior;
	bool invert;
	bool prefix_space;		/* BYTE_LEVEL */
	enum prepend prepend;		/* METASPACE */
	bool split;			/* METASPACE */
};

struct dpo_pretokenize_scratch {
	struct dpo_regex_scratch *match;
	struct dpo_buffer changed[DPO_PRETOKENIZE_STEPS];	/* a step's text before its split */
	struct dpo_buffer mapped[DPO_PRETOKENIZE_STEPS];	/* a word in the byte alphabet */
};

/* One call of dpo_pretokenize. */
struct walk {
	const struct dpo_pretokenizer *pretokenizer;
	struct dpo_pretokenize_scratch *scratch;
	dpo_pretokenize_word *word;
	void *context;
};

/* GPT-2's pattern (Radford et al. 2019). */
static const char gpt2_pattern[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

/* ------------------------------------------------------------------ the byte alphabet
 * The 188 printable bytes of Latin-1 stand for themselves, the other 68 in order for U+0100 and up.
 */

static bool
is_printable(uint32_t byte)
{
	return (byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte <= 0xff && byte != 0xad);
}

/* The character that stands for a byte. */
static uint32_t
byte_char(uint8_t byte)
{
	if (is_printable(byte))
		return byte;
	return byte <= 0x20 ? 0x100u + byte : byte == 0xad ? 0x143u : 0x121u + (byte - 0x7fu);
}

int
dpo_pretokenize_char_byte(uint32_t code)
{
	if (code < 0x100)
		return is_printable(code) ? (int)code : -1;
	if (code <= 0x120)
		return (int)code - 0x100;
	return code <= 0x142 ? (int)code - 0x121 + 0x7f : code == 0x143 ? 0xad : -1;
}

/* ------------------------------------------------------------------ reading */

static enum dpo_status
new_step(struct dpo_pretokenizer *pretokenizer, struct dpo_pretokenizer_step **step, struct dpo_error *err)
{
	if (!pretokenizer->steps &&
	    !(pretokenizer->steps = dpo_alloc(DPO_PRETOKENIZE_STEPS, sizeof *pretokenizer->steps)))
		return dpo_fail_memory(err);
	if (pretokenizer->count == DPO_PRETOKENIZE_STEPS)
		return dpo_fail(err, DPO_LIMIT, "more than %d pre-tokenizers", DPO_PRETOKENIZE_STEPS);
	*step = &pretokenizer->steps[pretokenizer->count++];
	return DPO_OK;
}

static enum dpo_status
set_string(struct dpo_pretokenizer_step *step, const char *string, struct dpo_error *err)
{
	step->string_bytes = strlen(string);
	if (!(step->string = dpo_size_copy(string, step->string_bytes)))
		return dpo_fail_memory(err);
	return step->string_bytes ? DPO_OK : dpo_fail(err, DPO_FORMAT, "a pre-tokenizer's pattern is empty");
}

static enum dpo_status
read_byte_level(struct dpo_pretokenizer_step *step, const cJSON *spec, struct dpo_error *err)
{
	enum dpo_status status;
	bool use_regex;

	step->kind = BYTE_LEVEL;
	if ((status = dpo_json_bool_or(&step->prefix_space, spec, "add_prefix_space", true, err)) != DPO_OK ||
	    (status = dpo_json_bool_or(&use_regex, spec, "use_regex", true, err)) != DPO_OK)
		return status;
	return use_regex ? dpo_regex_new(&step->regex, gpt2_pattern, strlen(gpt2_pattern), err) : DPO_OK;
}

static enum dpo_status
read_metaspace(struct dpo_pretokenizer_step *step, const cJSON *spec, struct dpo_error *err)
{
	static const char *const schemes[] = { "always", "first", "never" };
	const char *replacement, *scheme;
	enum dpo_status status;
	bool prefix;
	size_t i = 0;

	step->kind = METASPACE;
	/* Older files say add_prefix_space instead of prepend_scheme. */
	if ((status = dpo_json_string(&replacement, spec, "replacement", err)) != DPO_OK ||
	    (status = dpo_json_bool_or(&step->split, spec, "split", true, err)) != DPO_OK ||
	    (status = dpo_json_bool_or(&prefix, spec, "add_prefix_space", true, err)) != DPO_OK ||
	    (status = dpo_json_string_or(&scheme, spec, "prepend_scheme", prefix ? "always" : "never", err)) != DPO_OK)
		return status;
	while (i < 3 && strcmp(schemes[i], scheme) != 0)
		i++;
	if (i == 3)
		return dpo_fail(err, DPO_UNSUPPORTED, "Metaspace with prepend_scheme \"%.60s\"", scheme);
	step->prepend = (enum prepend)i;
	return set_string(step, replacement, err);
}

static enum dpo_status
set_regex(struct dpo_pretokenizer_step *step, const char *pattern, enum behavior behavior, struct dpo_error *err)
{
	step->kind = SPLIT;
	step->behavior = behavior;
	return dpo_regex_new(&step->regex, pattern, strlen(pattern), err);
}

/* The behavior of a split; fallback NULL: the key must be there. */
static enum dpo_status
read_behavior(struct dpo_pretokenizer_step *step, const cJSON *spec, const char *fallback, struct dpo_error *err)
{
	static const char *const behaviors[BEHAVIORS] = { "Isolated", "Removed", "MergedWithPrevious",
		"MergedWithNext", "Contiguous" };
	const char *behavior;
	enum dpo_status status;
	size_t i = 0;

	status = fallback ? dpo_json_string_or(&behavior, spec, "behavior", fallback, err) :
	    dpo_json_string(&behavior, spec, "behavior", err);
	if (status != DPO_OK)
		return status;
	while (i < BEHAVIORS && strcmp(behaviors[i], behavior) != 0)
		i++;
	if (i == BEHAVIORS)
		return dpo_fail(err, DPO_UNSUPPORTED, "Split with behavior \"%.60s\"", behavior);
	step->behavior = (enum behavior)i;
	return DPO_OK;
}

static enum dpo_status
read_split(struct dpo_pretokenizer_step *step, const cJSON *spec, struct dpo_error *err)
{
	const cJSON *pattern = dpo_json_get(spec, "pattern");
	enum dpo_status status;
	const char *text;

	step->kind = SPLIT;
	if ((status = read_behavior(step, spec, NULL, err)) != DPO_OK ||
	    (status = dpo_json_bool_or(&step->invert, spec, "invert", false, err)) != DPO_OK)
		return status;
	if (!dpo_json_get(pattern, "Regex")) {
		status = dpo_json_string(&text, pattern, "String", err);
		return status == DPO_OK ? set_string(step, text, err) : status;
	}
	if ((status = dpo_json_string(&text, pattern, "Regex", err)) != DPO_OK)
		return status;
	return set_regex(step, text, step->behavior, err);
}

static enum dpo_status
read_digits(struct dpo_pretokenizer_step *step, const cJSON *spec, struct dpo_error *err)
{
	enum dpo_status status;
	bool individual;

	if ((status = dpo_json_bool_or(&individual, spec, "individual_digits", false, err)) != DPO_OK)
		return status;
	return set_regex(step, "\\p{N}", individual ? ISOLATED : CONTIGUOUS, err);
}

static enum dpo_status
read_punctuation(struct dpo_pretokenizer_step *step, const cJSON *spec, struct dpo_error *err)
{
	enum dpo_status status = read_behavior(step, spec, "Isolated", err);

	return status == DPO_OK ? set_regex(step, "[\\p{P}$+<=>\\^`|~]", step->behavior, err) : status;
}

/* The word characters of UTS #18, annex C, as the inside of a class. */
#define WORD "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\x{200c}\\x{200d}"

static enum dpo_status
read_whitespace(struct dpo_pretokenizer_step *step, const cJSON *spec, struct dpo_error *err)
{
	(void)spec;
	step->invert = true;
	return set_regex(step, "[" WORD "]+|[^\\s" WORD "]+", REMOVED, err);
}

static enum dpo_status
read_whitespace_split(struct dpo_pretokenizer_step *step, const cJSON *spec, struct dpo_error *err)
{
	(void)spec;
	return set_regex(step, "\\s", REMOVED, err);
}

static enum dpo_status
read_delimiter(struct dpo_pretokenizer_step *step, const cJSON *spec, struct dpo_error *err)
{
	enum dpo_status status;
	const char *delimiter;

	step->kind = SPLIT;
	step->behavior = REMOVED;
	status = dpo_json_string(&delimiter, spec, "delimiter", err);
	return status == DPO_OK ? set_string(step, delimiter, err) : status;
}

static enum dpo_status
read_step(struct dpo_pretokenizer *pretokenizer, const cJSON *spec, struct dpo_error *err)
{
	static const struct {
		const char *type;
		enum dpo_status (*read)(struct dpo_pretokenizer_step *, const cJSON *, struct dpo_error *);
	} types[] = {
		{ "ByteLevel", read_byte_level }, { "Metaspace", read_metaspace }, { "Split", read_split },
		{ "Digits", read_digits }, { "Punctuation", read_punctuation }, { "Whitespace", read_whitespace },
		{ "WhitespaceSplit", read_whitespace_split }, { "CharDelimiterSplit", read_delimiter },
	};
	struct dpo_pretokenizer_step *step;
	enum dpo_status status;
	const cJSON *item, *list;
	const char *type;

	if ((status = dpo_json_string(&type, spec, "type", err)) != DPO_OK)
		return status;
	for (size_t i = 0; i < sizeof types / sizeof *types; i++)
		if (strcmp(types[i].type, type) == 0)
			return (status = new_step(pretokenizer, &step, err)) == DPO_OK ? types[i].read(step, spec, err) : status;
	if (strcmp(type, "Sequence") != 0)
		return dpo_fail(err, DPO_UNSUPPORTED, "pre-tokenizer %.60s", type);
	list = dpo_json_get(spec, "pretokenizers");
	if (!cJSON_IsArray(list))
		return dpo_fail(err, DPO_FORMAT, "\"pretokenizers\" is not a list");
	cJSON_ArrayForEach(item, list)
		if (status == DPO_OK)
			status = read_step(pretokenizer, item, err);
	return status;
}

enum dpo_status
dpo_pretokenizer_read(struct dpo_pretokenizer *pretokenizer, const cJSON *spec, struct dpo_error *err)
{
	enum dpo_status status = DPO_OK;

	*pretokenizer = (struct dpo_pretokenizer){ 0 };
	if (spec && !cJSON_IsNull(spec))
		status = read_step(pretokenizer, spec, err);
	if (status != DPO_OK)
		dpo_pretokenizer_free(pretokenizer);
	return status;
}

enum dpo_status
dpo_pretokenizer_byte_level(struct dpo_pretokenizer *pretokenizer, const char *pattern, struct dpo_error *err)
{
	struct dpo_pretokenizer_step *step;
	enum dpo_status status;

	*pretokenizer = (struct dpo_pretokenizer){ 0 };
	if (!pattern)
		pattern = gpt2_pattern;
	if ((status = new_step(pretokenizer, &step, err)) == DPO_OK) {
		step->kind = BYTE_LEVEL;
		status = dpo_regex_new(&step->regex, pattern, strlen(pattern), err);
	}
	if (status != DPO_OK)
		dpo_pretokenizer_free(pretokenizer);
	return status;
}

void
dpo_pretokenizer_free(struct dpo_pretokenizer *pretokenizer)
{
	for (size_t i = 0; i < pretokenizer->count; i++) {
		dpo_regex_free(pretokenizer->steps[i].regex);
		free(pretokenizer->steps[i].string);
	}
	free(pretokenizer->steps);
	*pretokenizer = (struct dpo_pretokenizer){ 0 };
}

struct dpo_pretokenize_scratch *
dpo_pretokenize_scratch_new(void)
{
	struct dpo_pretokenize_scratch *scratch = dpo_alloc(1, sizeof *scratch);

	if (scratch && !(scratch->match = dpo_regex_scratch_new())) {
		free(scratch);
		return NULL;
	}
	return scratch;
}

void
dpo_pretokenize_scratch_free(struct dpo_pretokenize_scratch *scratch)
{
	if (!scratch)
		return;
	dpo_regex_scratch_free(scratch->match);
	for (size_t i = 0; i < DPO_PRETOKENIZE_STEPS; i++) {
		dpo_buffer_free(&scratch->changed[i]);
		dpo_buffer_free(&scratch->mapped[i]);
	}
	free(scratch);
}

/* ------------------------------------------------------------------ splitting */

static enum dpo_status walk_step(struct walk *, size_t, const char *, size_t, bool, struct dpo_error *);

/* The word [text, text + n) of step `index`, in the byte alphabet if the step is ByteLevel, to the steps after it. */
static enum dpo_status
hand_on(struct walk *walk, size_t index, const char *text, size_t n, bool first, struct dpo_error *err)
{
	struct dpo_buffer *mapped = &walk->scratch->mapped[index];
	uint8_t utf8[4];

	if (n == 0)
		return DPO_OK;
	if (walk->pretokenizer->steps[index].kind != BYTE_LEVEL)
		return walk_step(walk, index + 1, text, n, first, err);
	dpo_buffer_clear(mapped);
	for (size_t i = 0; i < n; i++)
		dpo_buffer_append(mapped, utf8, dpo_utf8_put(utf8, byte_char((uint8_t)text[i])));
	if (mapped->failed)
		return dpo_fail_memory(err);
	return walk_step(walk, index + 1, (const char *)mapped->data, mapped->len, first, err);
}

/* The next hit of the step's pattern, as dpo_regex_next. */
static enum dpo_status
next_hit(const struct walk *walk, const struct dpo_pretokenizer_step *step, struct dpo_regex_walk *hits, size_t *start,
    size_t *end, struct dpo_error *err)
{
	if (step->regex)
		return dpo_regex_next(step->regex, walk->scratch->match, hits, start, end, err);
	for (size_t at = hits->from; step->string && hits->n - at >= step->string_bytes; at++) {
		if (memcmp(hits->text + at, step->string, step->string_bytes) != 0)
			continue;
		*start = at;
		*end = hits->from = at + step->string_bytes;
		return DPO_OK;
	}
	return DPO_END;
}

/*
 * Text is cut into hits and the gaps between them (with `invert` the two change roles); `behavior` says how hits and gaps
 * are put together into words. `open` is where the word not yet passed on begins.
 */
struct cutter {
	struct walk *walk;
	size_t index;
	const char *text;
	enum behavior behavior;
	size_t open;
	bool after_hit;		/* the piece before was a hit */
	bool first;
};

static enum dpo_status
close_word(struct cutter *cutter, size_t end, struct dpo_error *err)
{
	size_t start = cutter->open;

	cutter->open = end;
	if (end == start)
		return DPO_OK;
	return hand_on(cutter->walk, cutter->index, cutter->text + start, end - start, cutter->first && start == 0, err);
}

/* The next piece, [start, end); pieces come in order and cover the text; a hit may be empty. */
static enum dpo_status
cut(struct cutter *cutter, size_t start, size_t end, bool hit, struct dpo_error *err)
{
	enum dpo_status status = DPO_OK;
	bool after_hit = cutter->after_hit;

	cutter->after_hit = hit;
	switch (cutter->behavior) {
	case ISOLATED:
		return close_word(cutter, end, err);
	case REMOVED:
		if (!hit)
			return close_word(cutter, end, err);
		cutter->open = end;
		return DPO_OK;
	case MERGED_WITH_PREVIOUS:
		/* A gap stays open for one hit after it; a hit closes. */
		if (!hit && start > cutter->open)
			status = close_word(cutter, start, err);
		return status == DPO_OK && hit ? close_word(cutter, end, err) : status;
	case MERGED_WITH_NEXT:
		/* A hit opens a word and takes the one gap after it. */
		return (hit || !after_hit) && start > cutter->open ? close_word(cutter, start, err) : status;
	case CONTIGUOUS:
		return start > cutter->open && hit != after_hit ? close_word(cutter, start, err) : status;
	case BEHAVIORS:
		break;
	}
	return status;
}

static enum dpo_status
split(struct walk *walk, size_t index, enum behavior behavior, const char *text, size_t n, bool first,
    struct dpo_error *err)
{
	const struct dpo_pretokenizer_step *step = &walk->pretokenizer->steps[index];
	struct cutter cutter = { .walk = walk, .index = index, .text = text, .behavior = behavior, .first = first };
	struct dpo_regex_walk hits = { .text = text, .n = n };
	enum dpo_status status, found;
	size_t at = 0, start, end;

	do {
		status = DPO_OK;
		if ((found = next_hit(walk, step, &hits, &start, &end, err)) == DPO_END)
			start = end = n;
		else if (found != DPO_OK)
			return found;
		if (start > at)
			status = cut(&cutter, at, start, step->invert, err);
		if (status == DPO_OK && found == DPO_OK)
			status = cut(&cutter, start, end, !step->invert, err);
		at = end;
	} while (status == DPO_OK && found == DPO_OK && at < n);
	return status == DPO_OK && cutter.open < n ? close_word(&cutter, n, err) : status;
}

/* Spaces become the replacement, which is put in front as well where the scheme says so. */
static enum dpo_status
replace_spaces(const struct dpo_pretokenizer_step *step, struct dpo_buffer *out, const char *text, size_t n,
    bool first, struct dpo_error *err)
{
	size_t from = 0;

	dpo_buffer_clear(out);
	for (size_t i = 0; i < n; i++) {
		if (text[i] != ' ')
			continue;
		dpo_buffer_append(out, text + from, i - from);
		dpo_buffer_append(out, step->string, step->string_bytes);
		from = i + 1;
	}
	dpo_buffer_append(out, text + from, n - from);
	if (!out->failed && (step->prepend == ALWAYS || (step->prepend == FIRST && first)) &&
	    (out->len < step->string_bytes || memcmp(out->data, step->string, step->string_bytes) != 0)) {
		(void)dpo_buffer_room(out, step->string_bytes);
		if (!out->failed) {
			memmove(out->data + step->string_bytes, out->data, out->len - step->string_bytes);
			memcpy(out->data, step->string, step->string_bytes);
		}
	}
	return out->failed ? dpo_fail_memory(err) : DPO_OK;
}

/* Step `index` and those after it on a text that is not empty. */
static enum dpo_status
walk_step(struct walk *walk, size_t index, const char *text, size_t n, bool first, struct dpo_error *err)
{
	struct dpo_buffer *changed = &walk->scratch->changed[index % DPO_PRETOKENIZE_STEPS];
	const struct dpo_pretokenizer_step *step;
	enum dpo_status status;

	if (index == walk->pretokenizer->count)
		return walk->word(walk->context, text, n, err);
	step = &walk->pretokenizer->steps[index];
	switch (step->kind) {
	case SPLIT:
		return split(walk, index, step->behavior, text, n, first, err);
	case METASPACE:
		if ((status = replace_spaces(step, changed, text, n, first, err)) != DPO_OK)
			return status;
		return step->split ? split(walk, index, MERGED_WITH_NEXT, (const char *)changed->data, changed->len, first, err) :
		    hand_on(walk, index, (const char *)changed->data, changed->len, first, err);
	case BYTE_LEVEL:
		break;
	}
	if (step->prefix_space && text[0] != ' ') {
		dpo_buffer_clear(changed);
		dpo_buffer_byte(changed, ' ');
		dpo_buffer_append(changed, text, n);
		if (changed->failed)
			return dpo_fail_memory(err);
		text = (const char *)changed->data;
		n = changed->len;
	}
	return step->regex ? split(walk, index, ISOLATED, text, n, first, err) :
	    hand_on(walk, index, text, n, first, err);
}

enum dpo_status
dpo_pretokenize(const struct dpo_pretokenizer *pretokenizer, struct dpo_pretokenize_scratch *scratch,
    const char *text, size_t n, bool first, dpo_pretokenize_word *word, void *context, struct dpo_error *err)
{
	struct walk walk = { .pretokenizer = pretokenizer, .scratch = scratch, .word = word, .context = context };

	return n == 0 ? DPO_OK : walk_step(&walk, 0, text, n, first, err);
}
