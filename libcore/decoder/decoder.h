/*
 * decoder - a packed sequence through the model, and back. Layer 9; uses error, arena, dropout, gemm, params, lora,
 * places, cache, skinny, pack, linear, norm, rope, parallel, vector, layer, packs.
 *
 * x += post1(o(attention(qkv(norm1 x)))), x += post2(down(act(up(norm2 x)))), layer by layer, then
 * the last norm; a norm that the family lacks (family.h) is left out, and with a parallel residual
 * both parts read the same x. Between the passes the decoder keeps per layer x, qkv, attention
 * output, x after attention, up's output, and what the norms of queries, keys and added parts
 * read; norms and activations are computed again in the backward pass. A decoder that is never to
 * go back keeps one layer's only; its bits are the same. One that recomputes keeps one layer's and the x of all.
 */
#ifndef DPO_DECODER_H
#define DPO_DECODER_H

#include "decoder/cache.h"
#include "decoder/dropout.h"
#include "decoder/linear.h"
#include "decoder/lora.h"
#include "decoder/pack.h"
#include "model/params.h"

struct dpo_decoder;

/* How passes are made. */
struct dpo_passes {
	/*
	 * An adapter of the table params, borrowed; its numbers may change between passes. Gradients are then those of its table: the
	 * base's own are not computed, nor any below the lowest layer that needs one. NULL: none.
	 */
	const struct dpo_lora *lora;
	bool train;	/* keep what the way back needs */
	/*
	 * Keep less of it, and compute each layer's part again on the way back (Chen et al. 2016, arXiv:1604.06174). The bits are the
	 * same; a step takes longer by most of a forward pass.
	 */
	bool recompute;
	/*
	 * The products of the maps (linear.h), of an adapter (lowrank.h) and of attention (strip.h) in bf16. Only where dpo_bf16_kernel
	 * names a kernel.
	 */
	bool bf16;
	int threads;
};

/* config and params are borrowed. */
enum dpo_status dpo_decoder_new(struct dpo_decoder **decoder, const struct dpo_config *config,
	const struct dpo_params *params, const struct dpo_passes *passes, struct dpo_error *err) DPO_MUST_CHECK;
void dpo_decoder_free(struct dpo_decoder *decoder);

/* From the next forward pass on the adapter's dropout is at work, by this key; NULL: it is not, as at first. */
void dpo_decoder_dropout(struct dpo_decoder *decoder, const struct dpo_dropout_key *key);
/* What is trained has other numbers now: the packed copies that bf16 keeps (packs.h) are stale. */
void dpo_decoder_changed(struct dpo_decoder *decoder);

/*
 * The normed hidden states of the sequence's head rows: *h is [head_rows][hidden_size], the
 * decoder's, good until its next forward pass.
 */
enum dpo_status dpo_decoder_forward(struct dpo_decoder *decoder, const float *weights,
	const struct dpo_sequence *sequence, const float **h, struct dpo_error *err) DPO_MUST_CHECK;

/*
 * As dpo_decoder_forward, and the keys and values of the rows are put into `cache` ({0}, or used before), with room for
 * `positions` in all. The sequence has no answers of more than one token: its rows are those of a prompt.
 */
enum dpo_status dpo_decoder_prefill(struct dpo_decoder *decoder, const float *weights,
	const struct dpo_sequence *sequence, struct dpo_cache *cache, size_t positions, const float **h,
	struct dpo_error *err) DPO_MUST_CHECK;

/*
 * One token more for each of n sequences: tokens[i] goes behind what caches[i] holds, which has room for it. *h is
 * [n][hidden_size], good until the next pass. The same layers as the packed pass, but for the order in which products are
 * summed (skinny.h): a sequence's bits do not depend on the others. DPO_UNSUPPORTED where a rope scaling would give another
 * length other frequencies (rope.h): what the cache holds was turned by the old ones.
 */
enum dpo_status dpo_decoder_step(struct dpo_decoder *decoder, const float *weights, const int32_t *tokens,
	struct dpo_cache *const *caches, size_t n, const float **h, struct dpo_error *err) DPO_MUST_CHECK;

/*
 * After the forward pass of the same sequence, once: gradients[params.total] (the adapter's if there is one) += those of
 * dh[head_rows][hidden_size]. Only for a decoder made with `train`.
 */
void dpo_decoder_backward(struct dpo_decoder *decoder, const float *weights,
	const struct dpo_sequence *sequence, const float *dh, float *gradients);

/*
 * Floats of working memory that the sequence takes, by the same carving but without taking any; SIZE_MAX if they overflow.
 * Pointers to what the last pass kept are lost by that: not between a forward pass and its backward pass.
 */
size_t dpo_decoder_room(struct dpo_decoder *decoder, const struct dpo_sequence *sequence);
/* Bytes of what bf16 keeps besides (packs.h); 0 without bf16. SIZE_MAX as there. Not after a pass in bf16, whose packs it would unhook. */
size_t dpo_decoder_packs(struct dpo_decoder *decoder);
/* Take so many now, at once, so that sequences that need no more never grow it. false: no memory. */
bool dpo_decoder_reserve(struct dpo_decoder *decoder, size_t floats);

/* The head, hidden_size to vocab_size, without scratch. gradients may be NULL. */
struct dpo_linear dpo_decoder_head(const struct dpo_decoder *decoder, const float *weights, float *gradients);

#endif
