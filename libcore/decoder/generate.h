/*
 * generate - completions of prompts, many at a time. Layer 10; uses error, size, buffer, bytes, ids, random, gemm, params,
 * pack, cache, linear, skinny, rope, sampling, parallel, vector, lora, decoder.
 *
 * A prompt is computed as one packed sequence (decoder.h) and leaves its keys and values in a cache; then all active
 * sequences take one token per step, and one that ends makes room for the next (continuous batching). Samples of the same
 * prompt share its computation. The threads share each product, or, if the model fits in a core's cache, the sequences:
 * then each thread has a decoder of its own.
 *
 * A sample depends on the weights, the settings, its prompt, its key and its number alone: not on the other active
 * sequences, their greatest number, their order, or the threads. The random number at token t is uniform in [0, 1), from
 * random.h by (seed, key, sample, t).
 */
#ifndef DPO_GENERATE_H
#define DPO_GENERATE_H

#include "base/error.h"
#include "base/ids.h"
#include "decoder/lora.h"
#include "decoder/sampling.h"
#include "model/params.h"

enum dpo_finish {
	DPO_FINISH_NOT,		/* not yet */
	DPO_FINISH_EOS,		/* its last token is an EOS */
	DPO_FINISH_STOP,	/* the caller stopped it */
	DPO_FINISH_LENGTH,	/* max_tokens or the model's positions are used up */
};

struct dpo_generate_settings {
	struct dpo_sampling sampling;
	size_t max_tokens;		/* of a completion; at least 1 */
	uint64_t seed;
	const int32_t *eos;		/* borrowed; n_eos ids that end a completion */
	size_t n_eos;
	/* Asked after each token that is no EOS, if not NULL: does the completion end here? Called in one thread. */
	enum dpo_status (*stops)(void *context, const struct dpo_ids *prompt, const struct dpo_ids *completion, bool *stop,
	    struct dpo_error *err);
	void *context;
};

/* One completion, asked for or done. */
struct dpo_completion {
	struct dpo_ids prompt;
	char *purpose;			/* owned; of its random numbers: sample number and key */
	const char *key;		/* the end of purpose: what the caller calls the row */
	size_t sample;			/* its number, from 0 */
	uint64_t row;			/* consecutive completions with equal row share a prompt */
	char *note;			/* owned; the caller's */
	struct dpo_ids tokens;		/* the completion's, including its EOS */
	float *logps;			/* owned; [tokens.count]: log p under the model, temperature 1, all tokens; nats */
	size_t logps_capacity;
	enum dpo_finish finish;
};

struct dpo_generator;

/*
 * How many threads compute sequences of their own: all, up to one per sequence, if the model fits in a core's cache. 1: all
 * threads share each product. Parameters count wherever they lie, in the block or in a mapped file.
 */
size_t dpo_generator_workers(const struct dpo_params *params, size_t batch, int threads);

/*
 * config, params, weights, settings and the adapter (NULL for none) are borrowed. At most `batch` sequences are active at
 * once. Memory: their caches, of prompt + max_tokens positions each, and batch x vocab_size logits.
 */
enum dpo_status dpo_generator_new(struct dpo_generator **generator, const struct dpo_config *config,
	const struct dpo_params *params, const float *weights, const struct dpo_lora *lora,
	const struct dpo_generate_settings *settings, size_t batch, int threads, struct dpo_error *err) DPO_MUST_CHECK;
void dpo_generator_free(struct dpo_generator *generator);

/* Positions of a sequence: the model's, or only those before its rotary frequencies change with the length. */
size_t dpo_generator_positions(const struct dpo_generator *generator);

/* How many more completions may be asked for before dpo_generator_next: 4 per active sequence, less those not yet returned. */
size_t dpo_generator_room(const struct dpo_generator *generator);

/*
 * Ask for sample number `sample` of a prompt; needs room. prompt, key (what the caller calls the row) and note (handed back
 * with the completion) are copied. DPO_FORMAT: a prompt without tokens, a token outside the vocabulary, or a prompt that
 * leaves no position free.
 */
enum dpo_status dpo_generator_ask(struct dpo_generator *generator, uint64_t row, const struct dpo_ids *prompt,
	const char *key, size_t sample, const char *note, struct dpo_error *err) DPO_MUST_CHECK;

/*
 * The next completion in the order asked for, computing until it is done; valid until the next call of this or of
 * dpo_generator_ask. DPO_END when all have been returned. DPO_NONFINITE: logits that are not finite. Errors of one
 * completion name it.
 */
enum dpo_status dpo_generator_next(struct dpo_generator *generator, const struct dpo_completion **completion,
	struct dpo_error *err) DPO_MUST_CHECK;

/* Prepend `row "KEY", sample N: ` to err. */
enum dpo_status dpo_completion_blame(const struct dpo_completion *completion, struct dpo_error *err);

#endif
