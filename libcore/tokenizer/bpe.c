#include "tokenizer/bpe.h"

#include "base/buffer.h"
#include "base/json.h"
#include "base/size.h"
#include "base/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct dpo_merge {
	int32_t left, right;	/* left -1: a free slot */
	uint32_t rank;
	int32_t merged;
};

/* A piece of the word; pieces form a list in the order of the text. id -1: merged into the one before. */
struct dpo_bpe_symbol {
	int32_t id;
	int32_t before, after;	/* indices, -1 at the ends */
};

/* A pair that had a rank when it was put into the queue; stale if its symbols have changed since. */
struct dpo_bpe_candidate {
	uint32_t rank;
	int32_t at;		/* index of the left symbol */
	int32_t left, right, merged;
};

/* Texts of the merge being read. */
struct merging {
	struct dpo_buffer left, right, joined;
};

/* The current word. */
struct word {
	const struct dpo_bpe *bpe;
	struct dpo_bpe_scratch *scratch;
	size_t symbols, queued;
};

/* ------------------------------------------------------------------ the table of merges */

static struct dpo_merge *
find(const struct dpo_bpe *bpe, int32_t left, int32_t right)
{
	uint64_t hash = ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) * 0x9e3779b97f4a7c15u;
	size_t mask = bpe->capacity - 1, i = (size_t)(hash >> 32) & mask;

	while (bpe->merges[i].left >= 0 && (bpe->merges[i].left != left || bpe->merges[i].right != right))
		i = (i + 1) & mask;
	return &bpe->merges[i];
}

/* Room for one more merge. */
static bool
enlarge(struct dpo_bpe *bpe)
{
	struct dpo_bpe larger = { .capacity = bpe->capacity ? bpe->capacity * 2 : 64 };

	if (bpe->used * 2 < bpe->capacity)
		return true;
	if (!(larger.merges = dpo_alloc(larger.capacity, sizeof *larger.merges)))
		return false;
	for (size_t i = 0; i < larger.capacity; i++)
		larger.merges[i].left = -1;
	for (size_t i = 0; i < bpe->capacity; i++)
		if (bpe->merges[i].left >= 0)
			*find(&larger, bpe->merges[i].left, bpe->merges[i].right) = bpe->merges[i];
	free(bpe->merges);
	bpe->merges = larger.merges;
	bpe->capacity = larger.capacity;
	return true;
}

/* Of a pair that comes twice the later holds. */
static enum dpo_status
put_merge(struct dpo_bpe *bpe, struct dpo_merge merge, struct dpo_error *err)
{
	struct dpo_merge *slot;

	if (!enlarge(bpe))
		return dpo_fail_memory(err);
	slot = find(bpe, merge.left, merge.right);
	bpe->used += slot->left < 0;
	*slot = merge;
	return DPO_OK;
}

/* Add a merge of the next rank. */
static enum dpo_status
add_merge(struct dpo_bpe *bpe, const struct dpo_vocab *vocab, struct dpo_buffer *joined, const char *left,
    size_t left_bytes, const char *right, size_t right_bytes, struct dpo_error *err)
{
	struct dpo_merge merge = { .rank = (uint32_t)bpe->count };

	dpo_buffer_clear(joined);
	dpo_buffer_append(joined, left, left_bytes);
	dpo_buffer_append(joined, right, right_bytes);
	if (joined->failed)
		return dpo_fail_memory(err);
	merge.left = dpo_vocab_id(vocab, left, left_bytes);
	merge.right = dpo_vocab_id(vocab, right, right_bytes);
	merge.merged = dpo_vocab_id(vocab, (const char *)joined->data, joined->len);
	if (left_bytes == 0 || right_bytes == 0 || merge.left < 0 || merge.right < 0 || merge.merged < 0)
		return dpo_fail(err, DPO_FORMAT, "merge %zu, \"%.*s %.*s\": a token that is not in the vocabulary",
		    bpe->count, (int)(left_bytes > 60 ? 60 : left_bytes), left, (int)(right_bytes > 60 ? 60 : right_bytes), right);
	bpe->count++;
	return put_merge(bpe, merge, err);
}

/* "left right": exactly one space, not at the ends. A line of the version, which old files begin with, is none. */
static enum dpo_status
add_line(struct dpo_bpe *bpe, const struct dpo_vocab *vocab, struct dpo_buffer *joined, const char *line, size_t n,
    struct dpo_error *err)
{
	static const char version[] = "#version";
	const char *space = memchr(line, ' ', n);
	size_t left = space ? (size_t)(space - line) : 0;

	if (n >= sizeof version - 1 && memcmp(line, version, sizeof version - 1) == 0)
		return DPO_OK;
	if (!space || left == 0 || left + 1 == n || memchr(space + 1, ' ', n - left - 1))
		return dpo_fail(err, DPO_FORMAT, "merge %zu, \"%.*s\", is not two tokens", bpe->count, (int)(n > 60 ? 60 : n),
		    line);
	return add_merge(bpe, vocab, joined, line, left, space + 1, n - left - 1, err);
}

/* ------------------------------------------------------------------ reading */

void
dpo_bpe_init(struct dpo_bpe *bpe, const struct dpo_vocab *vocab)
{
	char text[8];
	uint8_t utf8[4];

	*bpe = (struct dpo_bpe){ .unk = -1, .n_own = vocab->count };
	for (uint32_t code = 0; code < DPO_BPE_LOW; code++)
		bpe->low[code] = dpo_vocab_id(vocab, (const char *)utf8, dpo_utf8_put(utf8, code));
	for (unsigned byte = 0; byte < 256; byte++) {
		snprintf(text, sizeof text, "<0x%02X>", byte);
		bpe->bytes[byte] = dpo_vocab_id(vocab, text, 6);
	}
}

static enum dpo_status
read_options(struct dpo_bpe *bpe, const cJSON *model, const struct dpo_vocab *vocab, struct dpo_error *err)
{
	static const char *const affixes[] = { "continuing_subword_prefix", "end_of_word_suffix" };
	enum dpo_status status;
	const char *text;
	double dropout;

	for (size_t i = 0; i < 2; i++) {
		if ((status = dpo_json_string_or(&text, model, affixes[i], "", err)) != DPO_OK)
			return status;
		if (*text)
			return dpo_fail(err, DPO_UNSUPPORTED, "BPE with %s", affixes[i]);
	}
	if ((status = dpo_json_number_or(&dropout, model, "dropout", 0, err)) != DPO_OK)
		return status;
	if (dropout != 0)
		return dpo_fail(err, DPO_UNSUPPORTED, "BPE with dropout");
	if ((status = dpo_json_bool_or(&bpe->fuse_unk, model, "fuse_unk", false, err)) != DPO_OK ||
	    (status = dpo_json_bool_or(&bpe->byte_fallback, model, "byte_fallback", false, err)) != DPO_OK ||
	    (status = dpo_json_bool_or(&bpe->ignore_merges, model, "ignore_merges", false, err)) != DPO_OK ||
	    (status = dpo_json_string_or(&text, model, "unk_token", NULL, err)) != DPO_OK)
		return status;
	bpe->unk = text ? dpo_vocab_id(vocab, text, strlen(text)) : -1;
	if (text && bpe->unk < 0)
		return dpo_fail(err, DPO_FORMAT, "unk_token \"%.60s\" is not in the vocabulary", text);
	return DPO_OK;
}

/* One merge, whose first token of JSON was just read: "left right", or [left, right]. */
static enum dpo_status
read_merge(struct dpo_bpe *bpe, struct dpo_json_lexer *lexer, enum dpo_json_token token, const struct dpo_vocab *vocab,
    struct merging *work, struct dpo_error *err)
{
	dpo_buffer_clear(&work->left);
	dpo_buffer_clear(&work->right);
	if (token == DPO_JSON_STRING) {
		dpo_json_unescape(lexer, &work->left);
		return work->left.failed ? dpo_fail_memory(err) :
		    add_line(bpe, vocab, &work->joined, dpo_buffer_text(&work->left), work->left.len, err);
	}
	if (token == DPO_JSON_OPEN_ARRAY && dpo_json_next(lexer, err) == DPO_JSON_STRING) {
		dpo_json_unescape(lexer, &work->left);
		if (dpo_json_next(lexer, err) == DPO_JSON_COMMA && dpo_json_next(lexer, err) == DPO_JSON_STRING) {
			dpo_json_unescape(lexer, &work->right);
			if (dpo_json_next(lexer, err) == DPO_JSON_CLOSE_ARRAY)
				return work->left.failed || work->right.failed ? dpo_fail_memory(err) :
				    add_merge(bpe, vocab, &work->joined, dpo_buffer_text(&work->left), work->left.len,
				    dpo_buffer_text(&work->right), work->right.len, err);
		}
	}
	return dpo_fail(err, DPO_FORMAT, "merge %zu is neither a string nor a pair of strings", bpe->count);
}

static enum dpo_status
read_merges(struct dpo_bpe *bpe, const char *list, size_t n, const struct dpo_vocab *vocab, struct dpo_error *err)
{
	struct dpo_json_lexer lexer = { .text = list, .len = n };
	struct merging work = { 0 };
	enum dpo_status status = DPO_OK;
	enum dpo_json_token token;

	if (!list || dpo_json_next(&lexer, err) != DPO_JSON_OPEN_ARRAY)
		return dpo_fail(err, DPO_FORMAT, "\"merges\" is %s", list ? "not a list" : "missing");
	for (token = dpo_json_next(&lexer, err); status == DPO_OK && token != DPO_JSON_CLOSE_ARRAY;
	    token = dpo_json_next(&lexer, err))
		if (token != DPO_JSON_COMMA)
			status = read_merge(bpe, &lexer, token, vocab, &work, err);
	dpo_buffer_free(&work.left);
	dpo_buffer_free(&work.right);
	dpo_buffer_free(&work.joined);
	return status;
}

enum dpo_status
dpo_bpe_read(struct dpo_bpe *bpe, const cJSON *model, const char *list, size_t n, const struct dpo_vocab *vocab,
    struct dpo_error *err)
{
	enum dpo_status status;

	dpo_bpe_init(bpe, vocab);
	if ((status = read_options(bpe, model, vocab, err)) != DPO_OK ||
	    (status = read_merges(bpe, list, n, vocab, err)) != DPO_OK)
		dpo_bpe_free(bpe);
	return status;
}

enum dpo_status
dpo_bpe_add(struct dpo_bpe *bpe, struct dpo_merge_ids ids, uint32_t rank, struct dpo_error *err)
{
	bpe->count++;
	return put_merge(bpe, (struct dpo_merge){ .left = ids.left, .right = ids.right, .merged = ids.merged, .rank = rank }, err);
}

enum dpo_status
dpo_bpe_read_text(struct dpo_bpe *bpe, const char *text, size_t n, const struct dpo_vocab *vocab,
    struct dpo_error *err)
{
	struct dpo_buffer joined = { 0 };
	enum dpo_status status = DPO_OK;
	size_t length;

	dpo_bpe_init(bpe, vocab);
	for (const char *line = text, *end = text + n; line < end && status == DPO_OK; line += length + 1) {
		const char *stop = memchr(line, '\n', (size_t)(end - line));
		size_t used = length = stop ? (size_t)(stop - line) : (size_t)(end - line);

		if (used > 0 && line[used - 1] == '\r')
			used--;
		if (used > 0)
			status = add_line(bpe, vocab, &joined, line, used, err);
	}
	dpo_buffer_free(&joined);
	if (status != DPO_OK)
		dpo_bpe_free(bpe);
	return status;
}

void
dpo_bpe_free(struct dpo_bpe *bpe)
{
	free(bpe->merges);
	*bpe = (struct dpo_bpe){ 0 };
}

void
dpo_bpe_scratch_free(struct dpo_bpe_scratch *scratch)
{
	free(scratch->symbols);
	free(scratch->queue);
	*scratch = (struct dpo_bpe_scratch){ 0 };
}

/* ------------------------------------------------------------------ the queue: a binary heap by rank, then place */

static bool
is_before(const struct dpo_bpe_candidate *a, const struct dpo_bpe_candidate *b)
{
	return a->rank != b->rank ? a->rank < b->rank : a->at < b->at;
}

static void
push(struct word *word, struct dpo_bpe_candidate candidate)
{
	struct dpo_bpe_candidate *queue = word->scratch->queue;
	size_t i = word->queued++;

	for (; i > 0 && is_before(&candidate, &queue[(i - 1) / 2]); i = (i - 1) / 2)
		queue[i] = queue[(i - 1) / 2];
	queue[i] = candidate;
}

static struct dpo_bpe_candidate
pop(struct word *word)
{
	struct dpo_bpe_candidate *queue = word->scratch->queue, top = queue[0], last = queue[--word->queued];
	size_t i = 0, child;

	while ((child = 2 * i + 1) < word->queued) {
		if (child + 1 < word->queued && is_before(&queue[child + 1], &queue[child]))
			child++;
		if (!is_before(&queue[child], &last))
			break;
		queue[i] = queue[child];
		i = child;
	}
	queue[i] = last;
	return top;
}

/* ------------------------------------------------------------------ encoding */

/* Queue the pair that begins at symbol `at`, if it has a rank. */
static void
consider(struct word *word, int32_t at)
{
	const struct dpo_bpe_symbol *symbols = word->scratch->symbols;
	const struct dpo_merge *merge;
	int32_t after = at >= 0 ? symbols[at].after : -1;

	if (after < 0 || word->bpe->used == 0)
		return;
	merge = find(word->bpe, symbols[at].id, symbols[after].id);
	if (merge->left >= 0)
		push(word, (struct dpo_bpe_candidate){ .rank = merge->rank, .at = at, .left = merge->left,
		    .right = merge->right, .merged = merge->merged });
}

/* Every merge takes one symbol away and queues at most two pairs, so 3n candidates are room enough. */
static void
merge_all(struct word *word)
{
	struct dpo_bpe_symbol *symbols = word->scratch->symbols;

	for (size_t i = 0; i + 1 < word->symbols; i++)
		consider(word, (int32_t)i);
	while (word->queued > 0) {
		struct dpo_bpe_candidate top = pop(word);
		struct dpo_bpe_symbol *left = &symbols[top.at];
		int32_t right = left->after;

		if (left->id != top.left || right < 0 || symbols[right].id != top.right)
			continue;
		left->id = top.merged;
		left->after = symbols[right].after;
		symbols[right].id = -1;
		if (left->after >= 0)
			symbols[left->after].before = top.at;
		consider(word, left->before);
		consider(word, top.at);
	}
}

static void
add_symbol(struct word *word, int32_t id)
{
	int32_t i = (int32_t)word->symbols++;

	word->scratch->symbols[i] = (struct dpo_bpe_symbol){ .id = id, .before = i - 1, .after = i + 1 };
}

static int32_t
character_id(const struct dpo_bpe *bpe, const struct dpo_vocab *vocab, uint32_t code, const char *text, size_t n)
{
	return code < DPO_BPE_LOW ? bpe->low[code] : dpo_vocab_id_of_first(vocab, bpe->n_own, text, n);
}

/* The bytes' tokens of a character; false if one is missing. */
static bool
fall_back_to_bytes(struct word *word, const char *text, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (word->bpe->bytes[(uint8_t)text[i]] < 0)
			return false;
	for (size_t i = 0; i < n; i++)
		add_symbol(word, word->bpe->bytes[(uint8_t)text[i]]);
	return true;
}

/* One symbol a character. */
static enum dpo_status
spell(struct word *word, const struct dpo_vocab *vocab, const char *text, size_t n, struct dpo_error *err)
{
	const struct dpo_bpe *bpe = word->bpe;
	bool after_unk = false;
	uint32_t code;

	for (size_t at = 0, length; at < n; at += length) {
		int32_t id;

		length = dpo_utf8_next((const uint8_t *)text + at, n - at, &code);
		if (length == 0)
			return dpo_fail(err, DPO_FORMAT, "text is not UTF-8");
		if ((id = character_id(bpe, vocab, code, text + at, length)) >= 0) {
			add_symbol(word, id);
			after_unk = false;
		} else if (bpe->byte_fallback && fall_back_to_bytes(word, text + at, length)) {
			after_unk = false;
		} else if (bpe->unk >= 0) {
			if (!after_unk || !bpe->fuse_unk)
				add_symbol(word, bpe->unk);
			after_unk = true;
		} else {
			return dpo_fail(err, DPO_FORMAT, "the tokenizer has neither U+%04X nor an unknown token", code);
		}
	}
	word->scratch->symbols[word->symbols - 1].after = -1;
	return DPO_OK;
}

/* Room for a word of n bytes: at most n symbols and 3n candidates. */
static bool
make_room(struct dpo_bpe_scratch *scratch, size_t n)
{
	void *symbols = scratch->symbols, *queue = scratch->queue;
	size_t candidates;
	bool ok;

	if (n > INT32_MAX || !dpo_size_mul(n, 3, &candidates))
		return false;
	ok = dpo_size_grow(&symbols, &scratch->symbols_capacity, n, sizeof *scratch->symbols);
	scratch->symbols = symbols;
	ok = ok && dpo_size_grow(&queue, &scratch->queue_capacity, candidates, sizeof *scratch->queue);
	scratch->queue = queue;
	return ok;
}

enum dpo_status
dpo_bpe_encode(const struct dpo_bpe *bpe, const struct dpo_vocab *vocab, struct dpo_bpe_scratch *scratch,
    const char *text, size_t n, struct dpo_ids *ids, struct dpo_error *err)
{
	struct word word = { .bpe = bpe, .scratch = scratch };
	enum dpo_status status;
	int32_t whole;

	if (n == 0)
		return DPO_OK;
	if (bpe->ignore_merges && (whole = dpo_vocab_id_of_first(vocab, bpe->n_own, text, n)) >= 0)
		return dpo_ids_add(ids, whole) ? DPO_OK : dpo_fail_memory(err);
	if (!make_room(scratch, n))
		return dpo_fail_memory(err);
	if ((status = spell(&word, vocab, text, n, err)) != DPO_OK)
		return status;
	merge_all(&word);
	for (int32_t i = 0; i >= 0; i = scratch->symbols[i].after)
		if (!dpo_ids_add(ids, scratch->symbols[i].id))
			return dpo_fail_memory(err);
	return DPO_OK;
}
