/*
 * score - per-token log-probs of answers, the one scorer of dpo-reflogp, dpo-train and dpo-eval. Layer 10; uses error, size,
 * arena, dropout, params, pack, gemm, rope, decoder, head.
 *
 * An example is a prompt with one answer (supervised rows, scoring) or two (a pair). It is
 * computed as one packed sequence [prompt | answer 0 | answer 1]: the prompt once, each answer
 * sees the prompt and itself, positions restart after the prompt for each answer (the values are
 * those of two separate sequences). No padding. Where rotary frequencies depend on the length (rope.h)
 * and the answers' differ, the prompt cannot be shared: the answers are computed one after the other,
 * the first once more for the backward pass.
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
 * What was seen on the way, per answer: sums over the scored tokens, for TRL's metrics. Scored
 * tokens are all tokens of the answer, but for the first when the prompt is empty.
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
 * A scorer on borrowed weights (model's own, or a block of the same table), whose passes are made like that. Memory grows to
 * what the largest example so far needs; it is that of one example at a time.
 */
enum dpo_status dpo_scorer_new(struct dpo_scorer **scorer, const struct dpo_config *config,
	const struct dpo_params *params, const float *weights, const struct dpo_passes *passes,
	struct dpo_error *err) DPO_MUST_CHECK;
void dpo_scorer_free(struct dpo_scorer *scorer);

/* What is trained has other numbers now: what bf16 keeps of them is to be made anew. */
void dpo_scorer_changed(struct dpo_scorer *scorer);
/* Whether the adapter's dropout is at work (NULL: no, as at first), and the key of the example to come. */
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

/* Floats of working memory: the decoder's, and of the head. Bytes of packed weights, in bf16 (packs.h). */
struct dpo_room {
	size_t decoder, head, packs;
};

/*
 * Make room enough for the example too: its members grow to what it needs (SIZE_MAX if that overflows). Nothing is computed or
 * taken; the scorer's weights are not looked at. Before the first score: what one left for its gradient is lost (decoder.h).
 * Errors as of dpo_score.
 */
enum dpo_status dpo_scorer_room(struct dpo_scorer *scorer, const struct dpo_example *example, struct dpo_room *room,
	struct dpo_error *err) DPO_MUST_CHECK;
/* Take that much now, exactly; examples that need no more never grow it. */
enum dpo_status dpo_scorer_reserve(struct dpo_scorer *scorer, const struct dpo_room *room, struct dpo_error *err) DPO_MUST_CHECK;

/*
 * For readers of more than log-probs (tests, inspection): after dpo_score, the logits of the rows
 * scored by answer a, computed again into logits[scored][vocab_size].
 */
enum dpo_status dpo_score_logits(struct dpo_scorer *scorer, size_t answer, float *logits,
	struct dpo_error *err) DPO_MUST_CHECK;

#endif
