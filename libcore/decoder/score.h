/*
 * score - per-token log-probs of answers, the one scorer of dpo-reflogp, dpo-train and dpo-eval. Layer 10; uses error, size,
 * arena, dropout, params, pack, gemm, rope, decoder, head.
 *
 * An example is a prompt with one answer (supervised rows, scoring) or two (a pair). It is computed as one packed sequence
 * [prompt | answer 0 | answer 1]: the prompt once, each answer sees the prompt and itself, positions restart after the
 * prompt for each answer (the values are those of two separate sequences). No padding. Where rotary frequencies depend on
 * the length (rope.h) and the answers' differ, the prompt cannot be shared: the answers are computed one after the other,
 * and the first again for the backward pass.
 *
 * Bits: the result for an example depends on the example, the weights and the BLAS kernel alone,
 * not on the thread count, nor on what was scored before. Swapping the answers may move bits.
 */
#ifndef DPO_SCORE_H
#define DPO_SCORE_H

#include "base/error.h"
#include "decoder/decoder.h"
#include "decoder/dropout.h"
#include "decoder/pack.h"
#include "model/params.h"

/*
 * Sums over the scored tokens of an answer, for TRL's metrics. All tokens of the answer are scored, except the first when
 * the prompt is empty.
 */
struct dpo_answer_sums {
	size_t scored;		/* tokens */
	double logps;		/* nats: sum of log-probs */
	double entropy;		/* nats: sum over tokens of -sum_v p_v log p_v */
	double log_squares;	/* nats: sum over tokens of log sum_v p_v^2 */
	double logits;		/* sum over tokens of the mean over the vocabulary of the logits */
	size_t correct;		/* tokens that are the argmax, ties to the lowest id */
};

struct dpo_scorer;

/*
 * A scorer on borrowed weights (model's own, or a block of the same table), whose passes are made like that. Memory grows
 * to what the largest single example so far needs.
 */
enum dpo_status dpo_scorer_new(struct dpo_scorer **scorer, const struct dpo_config *config,
	const struct dpo_params *params, const float *weights, const struct dpo_passes *passes,
	struct dpo_error *err) DPO_MUST_CHECK;
void dpo_scorer_free(struct dpo_scorer *scorer);

/* Call after the trained weights change: cached bf16 copies are invalidated. */
void dpo_scorer_changed(struct dpo_scorer *scorer);
/* Apply the adapter's dropout, with this key, to the next example; NULL: no dropout, the default. */
void dpo_scorer_dropout(struct dpo_scorer *scorer, const struct dpo_dropout_key *key);

/*
 * Log-probs of the answers' tokens, nats, into logps[a][0 .. n_answer[a]); 0 for a first token
 * with nothing before it. sums[a] (NULL if not wanted) is filled for each answer.
 * DPO_FORMAT: a token outside the vocabulary, or a sequence longer than the model's positions,
 * naming it. DPO_NONFINITE: a log-prob that is not finite.
 */
enum dpo_status dpo_score(struct dpo_scorer *scorer, const struct dpo_example *example,
	float *const *logps, struct dpo_answer_sums *sums, struct dpo_error *err) DPO_MUST_CHECK;

/*
 * After dpo_score of a `train` scorer, for the same example: add to gradients[params.total], or the adapter's, the
 * gradient of sum_a sum_t dlogps[a][t] * logps[a][t] with respect to every weight that is trained. dlogps[a] has
 * n_answer[a] numbers.
 */
enum dpo_status dpo_score_backward(struct dpo_scorer *scorer, const struct dpo_example *example,
	const float *const *dlogps, float *gradients, struct dpo_error *err) DPO_MUST_CHECK;

/* Floats of working memory, for decoder and head; bytes of packed weights, in bf16 (packs.h). */
struct dpo_room {
	size_t decoder, head, packs;
};

/*
 * Grow *room to what the example needs (SIZE_MAX on overflow). Nothing is computed or allocated, and the scorer's weights
 * are not read. What a score left for its gradient is lost (decoder.h), so call it before the first one. Errors are those
 * of dpo_score.
 */
enum dpo_status dpo_scorer_room(struct dpo_scorer *scorer, const struct dpo_example *example, struct dpo_room *room,
	struct dpo_error *err) DPO_MUST_CHECK;
/* Allocate exactly that much now; examples that need no more never grow it. */
enum dpo_status dpo_scorer_reserve(struct dpo_scorer *scorer, const struct dpo_room *room, struct dpo_error *err) DPO_MUST_CHECK;

/*
 * For more than log-probs (tests, inspection): after dpo_score, recompute the logits of the rows that score an answer, into
 * logits[scored][vocab_size].
 */
enum dpo_status dpo_score_logits(struct dpo_scorer *scorer, size_t answer, float *logits,
	struct dpo_error *err) DPO_MUST_CHECK;

#endif
