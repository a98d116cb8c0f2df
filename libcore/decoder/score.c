#include "decoder/score.h"

#include "base/arena.h"
#include "base/size.h"
#include "decoder/decoder.h"
#include "decoder/head.h"
#include "decoder/rope.h"
#include "kernel/gemm.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct dpo_scorer {
	const struct dpo_config *config;
	const float *weights;
	bool train;
	int threads;
	struct dpo_decoder *decoder;	/* owned */
	struct dpo_sequence sequences[DPO_ANSWERS];	/* the example; or, `apart`, one an answer */
	bool apart;
	const struct dpo_sequence *shown;	/* whose results the members below are */
	struct dpo_arena arena;
	struct dpo_head head;
	const float *h;			/* the decoder's */
	float *dh, *logps, *d_logps;	/* in the arena */
	struct dpo_head_row *rows;	/* owned; [head_rows] */
	size_t rows_capacity;
};

enum dpo_status
dpo_scorer_new(struct dpo_scorer **scorer, const struct dpo_config *config,
    const struct dpo_params *params, const float *weights, const struct dpo_passes *passes, struct dpo_error *err)
{
	struct dpo_scorer *s = dpo_alloc(1, sizeof *s);
	enum dpo_status status;

	*scorer = NULL;
	if (!s)
		return dpo_fail_memory(err);
	s->config = config;
	s->weights = weights;
	s->train = passes->train;
	s->threads = dpo_gemm_threads(passes->threads);
	status = dpo_decoder_new(&s->decoder, config, params, passes, err);
	if (status != DPO_OK) {
		dpo_scorer_free(s);
		return status;
	}
	*scorer = s;
	return DPO_OK;
}

void
dpo_scorer_free(struct dpo_scorer *scorer)
{
	if (!scorer)
		return;
	dpo_decoder_free(scorer->decoder);
	for (size_t i = 0; i < DPO_ANSWERS; i++)
		dpo_sequence_free(&scorer->sequences[i]);
	dpo_arena_free(&scorer->arena);
	free(scorer->rows);
	free(scorer);
}

void
dpo_scorer_changed(struct dpo_scorer *scorer)
{
	dpo_decoder_changed(scorer->decoder);
}

void
dpo_scorer_dropout(struct dpo_scorer *scorer, const struct dpo_dropout_key *key)
{
	dpo_decoder_dropout(scorer->decoder, key);
}

static void
carve(struct dpo_scorer *s)
{
	struct dpo_linear map = dpo_decoder_head(s->decoder, s->weights, NULL);
	size_t rows = s->shown->head_rows;

	dpo_arena_begin(&s->arena);
	map.scratch = dpo_arena_take(&s->arena, dpo_linear_scratch(s->threads, &map, s->train), 1);
	dpo_head_carve(&s->head, &map, rows, (float)s->config->logit_cap, DPO_HEAD_CHUNK, s->train ? DPO_HEAD_KEPT : 0, &s->arena);
	s->logps = dpo_arena_take(&s->arena, rows, DPO_ANSWERS);
	if (!s->train)
		return;
	s->d_logps = dpo_arena_take(&s->arena, rows, DPO_ANSWERS);
	s->dh = dpo_arena_take(&s->arena, rows, map.in);
}

static bool
prepare(struct dpo_scorer *s)
{
	void *rows = s->rows;
	bool fits = dpo_size_grow(&rows, &s->rows_capacity, s->shown->head_rows, sizeof *s->rows);
	enum dpo_arena_result result;

	s->rows = rows;
	do {
		carve(s);
		result = dpo_arena_end(&s->arena);
	} while (result == DPO_ARENA_AGAIN);
	return fits && result == DPO_ARENA_READY;
}

/* ------------------------------------------------------------------ sequences */

/* Do the answers' lengths ask for different rotary frequencies, so that no prompt can serve both? */
static bool
differ(const struct dpo_scorer *s, const struct dpo_example *example)
{
	const struct dpo_rope *rope = &s->config->rope;
	size_t first = dpo_rope_choice(rope, example->n_prompt + example->n_answer[0]);

	return example->n_answers > 1 &&
	    dpo_rope_choice(rope, example->n_prompt + example->n_answer[1]) != first;
}

static enum dpo_status
lay_out(struct dpo_scorer *s, const struct dpo_example *example, struct dpo_error *err)
{
	size_t vocab = s->config->vocab_size, positions = s->config->max_positions;
	enum dpo_status status = dpo_pack(&s->sequences[0], example, vocab, positions, err);

	s->shown = NULL;
	s->apart = status == DPO_OK && differ(s, example);
	for (size_t a = 0; s->apart && a < example->n_answers && status == DPO_OK; a++) {
		struct dpo_example one = { example->prompt, example->n_prompt, 1,
		    { example->answer[a] }, { example->n_answer[a] } };

		status = dpo_pack(&s->sequences[a], &one, vocab, positions, err);
	}
	return status;
}

/* The sequence that answer a is in, and its number there. */
static const struct dpo_sequence *
sequence_of(const struct dpo_scorer *s, size_t a)
{
	return &s->sequences[s->apart ? a : 0];
}

static size_t
number_of(const struct dpo_scorer *s, size_t a)
{
	return s->apart ? 0 : a;
}

/* Compute a sequence forward, unless its results are still there. */
static enum dpo_status
show(struct dpo_scorer *s, const struct dpo_sequence *sequence, struct dpo_error *err)
{
	enum dpo_status status;

	if (s->shown == sequence)
		return DPO_OK;
	s->shown = sequence;
	status = prepare(s) ? dpo_decoder_forward(s->decoder, s->weights, sequence, &s->h, err) :
	    dpo_fail_memory(err);
	if (status != DPO_OK) {
		s->shown = NULL;
		return status;
	}
	dpo_head_forward(s->threads, &s->head, s->h, sequence->targets, s->rows, s->logps);
	return DPO_OK;
}

/* ------------------------------------------------------------------ room */

enum dpo_status
dpo_scorer_room(struct dpo_scorer *scorer, const struct dpo_example *example, struct dpo_room *room, struct dpo_error *err)
{
	struct dpo_scorer *s = scorer;
	enum dpo_status status = lay_out(s, example, err);

	if (status != DPO_OK)
		return status;
	for (size_t i = 0; i < (s->apart ? example->n_answers : 1); i++) {
		size_t decoder = dpo_decoder_room(s->decoder, &s->sequences[i]), head;

		s->shown = &s->sequences[i];
		carve(s);
		head = s->arena.overflow ? SIZE_MAX : s->arena.used;
		room->decoder = decoder > room->decoder ? decoder : room->decoder;
		room->head = head > room->head ? head : room->head;
	}
	s->shown = NULL;
	room->packs = room->packs ? room->packs : dpo_decoder_packs(s->decoder);
	return DPO_OK;
}

enum dpo_status
dpo_scorer_reserve(struct dpo_scorer *scorer, const struct dpo_room *room, struct dpo_error *err)
{
	scorer->shown = NULL;
	return dpo_decoder_reserve(scorer->decoder, room->decoder) && dpo_arena_reserve(&scorer->arena, room->head) ? DPO_OK :
	    dpo_fail_memory(err);
}

/* ------------------------------------------------------------------ scores */

/* The answer's log-probs and sums from those of the head rows. */
static enum dpo_status
gather(const struct dpo_scorer *s, size_t which, float *logps, struct dpo_answer_sums *sums,
    struct dpo_error *err)
{
	const struct dpo_sequence *q = s->shown;
	size_t answer = number_of(s, which), row;

	*sums = (struct dpo_answer_sums){ 0 };
	for (size_t t = 0; t < q->n_answer[answer]; t++) {
		row = dpo_sequence_head_row(q, answer, t);
		logps[t] = 0.0f;
		if (row == DPO_NO_ROW)
			continue;
		logps[t] = s->logps[row * DPO_ANSWERS + answer];
		if (!isfinite(logps[t]))
			return dpo_fail(err, DPO_NONFINITE,
			    "answer %zu: the log-prob of token %zu is not finite", which, t);
		sums->scored++;
		sums->logps += (double)logps[t];
		sums->entropy += s->rows[row].entropy;
		sums->log_squares += s->rows[row].log_squares;
		sums->logits += s->rows[row].mean;
		sums->correct += s->rows[row].best == (size_t)q->targets[row * DPO_ANSWERS +
		    answer];
	}
	return DPO_OK;
}

enum dpo_status
dpo_score(struct dpo_scorer *scorer, const struct dpo_example *example, float *const *logps,
    struct dpo_answer_sums *sums, struct dpo_error *err)
{
	struct dpo_scorer *s = scorer;
	struct dpo_answer_sums unwanted;
	enum dpo_status status = lay_out(s, example, err);

	for (size_t a = 0; a < example->n_answers && status == DPO_OK; a++)
		if ((status = show(s, sequence_of(s, a), err)) == DPO_OK)
			status = gather(s, a, logps[a], sums ? &sums[a] : &unwanted, err);
	return status;
}

/* The gradients of the answers' log-probs, to the head rows of the sequence shown. */
static enum dpo_status
scatter(struct dpo_scorer *s, size_t n_answers, const float *const *dlogps, struct dpo_error *err)
{
	const struct dpo_sequence *q = s->shown;

	memset(s->d_logps, 0, q->head_rows * DPO_ANSWERS * sizeof *s->d_logps);
	for (size_t a = 0; a < n_answers; a++) {
		size_t answer = number_of(s, a), row;

		if (sequence_of(s, a) != q)
			continue;
		for (size_t t = 0; t < q->n_answer[answer]; t++) {
			row = dpo_sequence_head_row(q, answer, t);
			if (row == DPO_NO_ROW)
				continue;
			if (!isfinite(dlogps[a][t]))
				return dpo_fail(err, DPO_NONFINITE,
				    "answer %zu: the gradient of token %zu is not finite", a, t);
			s->d_logps[row * DPO_ANSWERS + answer] = dlogps[a][t];
		}
	}
	return DPO_OK;
}

enum dpo_status
dpo_score_backward(struct dpo_scorer *scorer, const struct dpo_example *example,
    const float *const *dlogps, float *gradients, struct dpo_error *err)
{
	struct dpo_scorer *s = scorer;
	float *d_head = dpo_decoder_head(s->decoder, s->weights, gradients).d_weight;
	size_t n = s->apart ? example->n_answers : 1;
	enum dpo_status status = DPO_OK;

	assert(s->train && example->n_prompt == s->sequences[0].n_prompt);
	while (n-- > 0) {	/* the last is still there */
		const struct dpo_sequence *q = &s->sequences[n];

		if ((status = show(s, q, err)) != DPO_OK ||
		    (status = scatter(s, example->n_answers, dlogps, err)) != DPO_OK)
			return status;
		if (q->head_rows == 0)
			continue;
		dpo_head_backward(s->threads, &s->head, s->h, q->targets, s->rows, s->d_logps, s->dh, d_head);
		dpo_decoder_backward(s->decoder, s->weights, q, s->dh, gradients);
	}
	return status;
}

enum dpo_status
dpo_score_logits(struct dpo_scorer *scorer, size_t answer, float *logits, struct dpo_error *err)
{
	struct dpo_scorer *s = scorer;
	const struct dpo_sequence *q = sequence_of(s, answer);
	size_t vocab = s->config->vocab_size, n_answers = s->apart ? DPO_ANSWERS : q->n_answers, first;
	enum dpo_status status;

	if (answer >= n_answers)
		return dpo_fail(err, DPO_USAGE, "answer %zu of %zu", answer, n_answers);
	if ((status = show(s, q, err)) != DPO_OK)
		return status;
	answer = number_of(s, answer);
	first = dpo_sequence_head_row(q, answer, 0);
	if (first != DPO_NO_ROW) {
		dpo_head_logits(s->threads, &s->head, s->h, first, 1, logits);
		logits += vocab;
	}
	if (q->n_answer[answer] > 1)
		dpo_head_logits(s->threads, &s->head, s->h, dpo_sequence_head_row(q, answer,
		    1), q->n_answer[answer] - 1, logits);
	return DPO_OK;
}
