/*
 * decoder - the model's forward and backward pass over a packed sequence. Layer 9; uses error, arena, dropout, gemm,
 * params, lora, places, cache, skinny, pack, linear, norm, rope, parallel, vector, layer, packs.
 *
 * x += post1(o(attention(qkv(norm1 x)))), x += post2(down(act(up(norm2 x)))), layer by layer, then the last norm; a norm
 * that the family lacks (family.h) is left out, and with a parallel residual both parts read the same x. Between the passes
 * the decoder keeps per layer x, qkv, attention output, x after attention, up's output, and what the norms of queries, keys
 * and added parts read; norms and activations are recomputed in the backward pass. An inference-only decoder keeps
 * activations for one layer only; its bits are the same. One that recomputes keeps those of one layer and the x of all.
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
	 * An adapter of the table params, borrowed; its numbers may change between passes. Gradients are then those of its
	 * table: the base's own are not computed, nor any below the lowest layer that needs one. NULL: none.
	 */
	const struct dpo_lora *lora;
	bool train;	/* keep what the backward pass needs */
	/*
	 * Keep less of it, and recompute each layer in the backward pass (Chen et al. 2016, arXiv:1604.06174). The bits are
	 * the same; a step takes longer by most of a forward pass.
	 */
	bool recompute;
	/*
	 * Products of maps (linear.h), adapters (lowrank.h) and attention (strip.h) in bf16. Only where dpo_bf16_kernel
	 * names a kernel.
	 */
	bool bf16;
	int threads;
};

/* config and params are borrowed. */
enum dpo_status dpo_decoder_new(struct dpo_decoder **decoder, const struct dpo_config *config,
	const struct dpo_params *params, const struct dpo_passes *passes, struct dpo_error *err) DPO_MUST_CHECK;
void dpo_decoder_free(struct dpo_decoder *decoder);

/* Apply the adapter's dropout with this key from the next forward pass on; NULL: no dropout, the default. */
void dpo_decoder_dropout(struct dpo_decoder *decoder, const struct dpo_dropout_key *key);
/* Call after the trained weights change: the packed copies that bf16 keeps (packs.h) are stale. */
void dpo_decoder_changed(struct dpo_decoder *decoder);

/*
 * The normed hidden states of the sequence's head rows: *h is [head_rows][hidden_size], the
 * decoder's, valid until its next forward pass.
 */
enum dpo_status dpo_decoder_forward(struct dpo_decoder *decoder, const float *weights,
	const struct dpo_sequence *sequence, const float **h, struct dpo_error *err) DPO_MUST_CHECK;

/*
 * As dpo_decoder_forward, and puts the keys and values of the rows into `cache` ({0}, or used before), with room for
 * `positions` in all. The sequence has no answer of more than one token: its rows are those of a prompt.
 */
enum dpo_status dpo_decoder_prefill(struct dpo_decoder *decoder, const float *weights,
	const struct dpo_sequence *sequence, struct dpo_cache *cache, size_t positions, const float **h,
	struct dpo_error *err) DPO_MUST_CHECK;

/*
 * One more token for each of n sequences: tokens[i] is appended to what caches[i] holds, which has room for it. *h is
 * [n][hidden_size], valid until the next pass. The layers are those of the packed pass except for the order in which
 * products are summed (skinny.h): a sequence's bits do not depend on the others. DPO_UNSUPPORTED where rope scaling would
 * change the frequencies with the length (rope.h): the cached keys were rotated with the old ones.
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
 * Floats of working memory that the sequence needs, computed by the same carving but without taking any; SIZE_MAX if they
 * overflow. This loses the pointers to what the last pass kept: do not call it between a forward pass and its backward
 * pass.
 */
size_t dpo_decoder_room(struct dpo_decoder *decoder, const struct dpo_sequence *sequence);
/*
 * Bytes that bf16 keeps in addition (packs.h); 0 without bf16. SIZE_MAX as there. Not after a pass in bf16, whose packs it
 * would detach.
 */
size_t dpo_decoder_packs(struct dpo_decoder *decoder);
/* Allocate that many floats now, so that sequences that need no more never grow the block. false: no memory. */
bool dpo_decoder_reserve(struct dpo_decoder *decoder, size_t floats);

/* The head, hidden_size to vocab_size, without scratch. gradients may be NULL. */
struct dpo_linear dpo_decoder_head(const struct dpo_decoder *decoder, const float *weights, float *gradients);

#endif
