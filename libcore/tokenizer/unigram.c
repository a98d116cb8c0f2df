#include "tokenizer/unigram.h"

#include "base/buffer.h"
#include "base/json.h"
#include "base/size.h"
#include "base/utf8.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct dpo_unigram_node {
	double score;
	int32_t id;		/* -1: no piece ends here */
};

struct dpo_unigram_edge {
	uint32_t node;		/* 1 + the parent, 0: a free slot */
	uint32_t child;
	uint8_t byte;
};

/* The best way to cut the text up to here. */
struct dpo_unigram_best {
	double score;
	size_t start;		/* of the last piece; itself while no way leads here */
	int32_t id;		/* of the last piece, -1 if it is unknown */
};

static const double unknown_penalty = 10;

/* ------------------------------------------------------------------ the trie */

static struct dpo_unigram_edge *
edge(const struct dpo_unigram *unigram, uint32_t node, uint8_t byte)
{
	size_t mask = unigram->edges_capacity - 1;
	size_t i = (size_t)(((uint64_t)node << 8 | byte) * 0x9e3779b97f4a7c15u >> 32) & mask;

	while (unigram->edges[i].node && (unigram->edges[i].node != node + 1 || unigram->edges[i].byte != byte))
		i = (i + 1) & mask;
	return &unigram->edges[i];
}

/* Room for one more node and its edge. */
static bool
enlarge(struct dpo_unigram *unigram)
{
	struct dpo_unigram larger = { .edges_capacity = unigram->edges_capacity ? unigram->edges_capacity * 2 : 64 };
	void *nodes = unigram->nodes;

	if (unigram->n_nodes >= UINT32_MAX - 1 ||
	    !dpo_size_grow(&nodes, &unigram->nodes_capacity, unigram->n_nodes + 1, sizeof *unigram->nodes))
		return false;
	unigram->nodes = nodes;
	if (unigram->n_nodes * 2 < unigram->edges_capacity)
		return true;
	if (!(larger.edges = dpo_alloc(larger.edges_capacity, sizeof *larger.edges)))
		return false;
	for (size_t i = 0; i < unigram->edges_capacity; i++)
		if (unigram->edges[i].node)
			*edge(&larger, unigram->edges[i].node - 1, unigram->edges[i].byte) = unigram->edges[i];
	free(unigram->edges);
	unigram->edges = larger.edges;
	unigram->edges_capacity = larger.edges_capacity;
	return true;
}

/* The child of a node by a byte, made if it is not there; UINT32_MAX if out of memory. */
static uint32_t
descend(struct dpo_unigram *unigram, uint32_t node, uint8_t byte)
{
	struct dpo_unigram_edge *slot;

	if (!enlarge(unigram))
		return UINT32_MAX;
	slot = edge(unigram, node, byte);
	if (!slot->node) {
		*slot = (struct dpo_unigram_edge){ .node = node + 1, .byte = byte, .child = (uint32_t)unigram->n_nodes };
		unigram->nodes[unigram->n_nodes++] = (struct dpo_unigram_node){ .id = -1 };
	}
	return slot->child;
}

enum dpo_status
dpo_unigram_add(struct dpo_unigram *unigram, const char *piece, size_t n, int32_t id, double score, struct dpo_error *err)
{
	uint32_t node = 0;

	if (n == 0)
		return dpo_fail(err, DPO_FORMAT, "piece %d is empty", (int)id);
	if (!isfinite(score))
		return dpo_fail(err, DPO_FORMAT, "the score of piece %d, \"%.60s\", is not finite", (int)id, piece);
	if (!enlarge(unigram))
		return dpo_fail_memory(err);
	if (unigram->n_nodes == 0)
		unigram->nodes[unigram->n_nodes++] = (struct dpo_unigram_node){ .id = -1 };
	for (size_t i = 0; i < n; i++)
		if ((node = descend(unigram, node, (uint8_t)piece[i])) == UINT32_MAX)
			return dpo_fail_memory(err);
	unigram->nodes[node] = (struct dpo_unigram_node){ .id = id, .score = score };
	if (score < unigram->worst)
		unigram->worst = score;
	return DPO_OK;
}

void
dpo_unigram_find_bytes(struct dpo_unigram *unigram, const struct dpo_vocab *vocab)
{
	char text[8];

	for (unsigned byte = 0; byte < 256; byte++) {
		snprintf(text, sizeof text, "<0x%02X>", byte);
		unigram->bytes[byte] = dpo_vocab_id(vocab, text, 6);
	}
}

/* ------------------------------------------------------------------ reading */

/* One [piece, score], its opening mark just read. */
static enum dpo_status
read_piece(struct dpo_unigram *unigram, struct dpo_json_lexer *lexer, struct dpo_vocab *vocab, struct dpo_buffer *piece,
    struct dpo_error *err)
{
	int32_t id = (int32_t)vocab->count;
	enum dpo_status status;
	double score;

	dpo_buffer_clear(piece);
	if (dpo_json_next(lexer, err) == DPO_JSON_STRING) {
		dpo_json_unescape(lexer, piece);
		if (dpo_json_next(lexer, err) == DPO_JSON_COMMA && dpo_json_next(lexer, err) == DPO_JSON_NUMBER) {
			score = dpo_json_token_number(lexer->text + lexer->start, lexer->length);
			if (dpo_json_next(lexer, err) == DPO_JSON_CLOSE_ARRAY) {
				status = dpo_vocab_add(vocab, dpo_buffer_text(piece), piece->len, id, err);
				return status == DPO_OK ? dpo_unigram_add(unigram, dpo_buffer_text(piece), piece->len, id,
				    score, err) : status;
			}
		}
	}
	return dpo_fail(err, DPO_FORMAT, "piece %d is not a string with a score", (int)id);
}

static enum dpo_status
read_pieces(struct dpo_unigram *unigram, const char *list, size_t n, struct dpo_vocab *vocab, struct dpo_error *err)
{
	struct dpo_json_lexer lexer = { .text = list, .len = n };
	struct dpo_buffer piece = { 0 };
	enum dpo_status status = DPO_OK;
	enum dpo_json_token token;

	if (!list || dpo_json_next(&lexer, err) != DPO_JSON_OPEN_ARRAY)
		return dpo_fail(err, DPO_FORMAT, "the vocabulary is not a list");
	for (token = dpo_json_next(&lexer, err); status == DPO_OK && token != DPO_JSON_CLOSE_ARRAY;
	    token = dpo_json_next(&lexer, err)) {
		if (token == DPO_JSON_OPEN_ARRAY)
			status = read_piece(unigram, &lexer, vocab, &piece, err);
		else if (token != DPO_JSON_COMMA)
			status = dpo_fail(err, DPO_FORMAT, "piece %zu is not a list", vocab->count);
	}
	dpo_buffer_free(&piece);
	if (status == DPO_OK && vocab->count == 0)
		return dpo_fail(err, DPO_FORMAT, "the vocabulary is empty");
	return status;
}

enum dpo_status
dpo_unigram_read(struct dpo_unigram *unigram, const cJSON *model, const char *list, size_t n, struct dpo_vocab *vocab,
    struct dpo_error *err)
{
	enum dpo_status status;
	int64_t unk;

	*unigram = (struct dpo_unigram){ .worst = INFINITY };
	if ((status = dpo_json_bool_or(&unigram->byte_fallback, model, "byte_fallback", false, err)) == DPO_OK &&
	    (status = read_pieces(unigram, list, n, vocab, err)) == DPO_OK)
		status = dpo_json_integer_or(&unk, model, "unk_id", 0, (int64_t)vocab->count - 1, -1, err);
	if (status != DPO_OK) {
		dpo_unigram_free(unigram);
		return status;
	}
	unigram->unk = (int32_t)unk;
	dpo_unigram_find_bytes(unigram, vocab);
	return DPO_OK;
}

void
dpo_unigram_free(struct dpo_unigram *unigram)
{
	free(unigram->nodes);
	free(unigram->edges);
	*unigram = (struct dpo_unigram){ 0 };
}

void
dpo_unigram_scratch_free(struct dpo_unigram_scratch *scratch)
{
	free(scratch->best);
	*scratch = (struct dpo_unigram_scratch){ 0 };
}

/* ------------------------------------------------------------------ encoding */

/* One more way to `end`, by a piece from `start`. */
static void
offer(const struct dpo_unigram *unigram, struct dpo_unigram_best *best, size_t start, size_t end, int32_t id, double score)
{
	double sum = best[start].score + score;

	if (unigram->single)
		sum = (double)(float)sum;
	if (best[end].start != end && !(sum > best[end].score))
		return;
	best[end] = (struct dpo_unigram_best){ .score = sum, .start = start, .id = id };
}

/* Fill best[0..n]: to each place that a character begins at. */
static enum dpo_status
search(const struct dpo_unigram *unigram, struct dpo_unigram_best *best, const char *text, size_t n, struct dpo_error *err)
{
	double unknown = unigram->worst - unknown_penalty;
	uint32_t code, node;
	size_t length;

	if (unigram->single)
		unknown = (double)(float)unknown;
	for (size_t i = 0; i <= n; i++)
		best[i] = (struct dpo_unigram_best){ .start = i };
	for (size_t at = 0; at < n; at += length) {
		bool covered = false;

		if ((length = dpo_utf8_next((const uint8_t *)text + at, n - at, &code)) == 0)
			return dpo_fail(err, DPO_FORMAT, "text is not UTF-8");
		node = 0;
		for (size_t end = at; end < n;) {
			const struct dpo_unigram_edge *slot = edge(unigram, node, (uint8_t)text[end++]);
			const struct dpo_unigram_node *to = slot->node ? &unigram->nodes[slot->child] : NULL;

			if (!to)
				break;
			node = slot->child;
			if (to->id < 0)
				continue;
			offer(unigram, best, at, end, to->id, to->score);
			covered |= end == at + length;
		}
		if (!covered)
			offer(unigram, best, at, at + length, -1, unknown);
	}
	return DPO_OK;
}

/* An unknown run as its bytes' tokens, or as the unknown token. */
static enum dpo_status
put_unknown(const struct dpo_unigram *unigram, const char *text, size_t n, struct dpo_ids *ids, struct dpo_error *err)
{
	bool all = unigram->byte_fallback;
	uint32_t code;

	for (size_t i = 0; i < n; i++)
		all = all && unigram->bytes[(uint8_t)text[i]] >= 0;
	for (size_t i = 0; all && i < n; i++)
		if (!dpo_ids_add(ids, unigram->bytes[(uint8_t)text[i]]))
			return dpo_fail_memory(err);
	if (all)
		return DPO_OK;
	if (unigram->unk < 0) {
		(void)dpo_utf8_next((const uint8_t *)text, n, &code);
		return dpo_fail(err, DPO_FORMAT, "the tokenizer has neither U+%04X nor an unknown token", code);
	}
	return dpo_ids_add(ids, unigram->unk) ? DPO_OK : dpo_fail_memory(err);
}

/* Turn the chain of starts, which leads from the end to the beginning, around: `start` becomes the end of the next piece. */
static void
reverse(struct dpo_unigram_best *best, size_t n)
{
	size_t next = n;

	for (size_t end = n, start; end > 0; end = start) {
		start = best[end].start;
		best[end].start = next;
		next = end;
	}
	best[0].start = next;
}

enum dpo_status
dpo_unigram_encode(const struct dpo_unigram *unigram, struct dpo_unigram_scratch *scratch, const char *text, size_t n,
    struct dpo_ids *ids, struct dpo_error *err)
{
	void *best = scratch->best;
	enum dpo_status status;
	size_t room;

	if (n == 0)
		return DPO_OK;
	if (!dpo_size_add(n, 1, &room) || !dpo_size_grow(&best, &scratch->capacity, room, sizeof *scratch->best))
		return dpo_fail_memory(err);
	scratch->best = best;
	if ((status = search(unigram, scratch->best, text, n, err)) != DPO_OK)
		return status;
	reverse(scratch->best, n);
	for (size_t at = 0, end; at < n && status == DPO_OK; at = end) {
		end = scratch->best[at].start;
		if (scratch->best[end].id >= 0) {
			if (!dpo_ids_add(ids, scratch->best[end].id))
				return dpo_fail_memory(err);
			continue;
		}
		while (end < n && scratch->best[scratch->best[end].start].id < 0)
			end = scratch->best[end].start;
		status = put_unknown(unigram, text + at, end - at, ids, err);
	}
	return status;
}
