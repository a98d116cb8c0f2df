/*
 * attention - causal attention of a packed sequence, forward and backward, and of one row against a cache. Layer 6; uses
 * size, cache, exponential, family, lanes, mask, pack, parallel, strip, vector.
 *
 *	o_i = sum_j p_ij v_j,  p_ij = exp(s_ij - L_i),  s_ij = q_i . k_j / sqrt(head_dim),
 *	L_i = log sum_j exp(s_ij),
 *
 * j over the rows that row i sees (mask.h). Computed in blocks of keys with a running maximum (Dao et al. 2022,
 * arXiv:2205.14135, algorithm 1), so no matrix of scores is kept: the backward pass recomputes p from L. Query head h reads
 * key head h / (heads / kv_heads) (Ainslie et al. 2023, arXiv:2305.13245). Bits do not depend on the thread count. The
 * packed passes take up to 0.6 MB of the stack.
 */
#ifndef DPO_ATTENTION_H
#define DPO_ATTENTION_H

#include "decoder/cache.h"
#include "decoder/pack.h"
#include "model/family.h"

/*
 * Columns of qkv[rows][(heads + 2 kv_heads) head_dim]: the query of head h begins at column
 * h * query_step, the key of key head g at key + g * kv_step, its value at value + g * kv_step.
 */
struct dpo_attention {
	const struct dpo_sequence *sequence;
	size_t heads, kv_heads, head_dim;
	size_t query_step, key, value, kv_step;
	float scale;		/* of q.k */
	float cap;		/* scores are cap tanh(s / cap); 0: not capped */
	size_t window;		/* positions a row sees, including its own; 0: all */
	bool bf16;		/* products in bf16 (strip.h) */
	size_t first;		/* rows before it only serve as keys and values: their output is not needed */
};

/* Queries, keys, values one after the other; or, `by_head`, those of head 0, then of head 1, ... */
struct dpo_attention dpo_attention_of(const struct dpo_sequence *sequence, size_t heads,
	size_t kv_heads, size_t head_dim, bool by_head);

/* The columns at which a query head's query, and the key and value that it reads, begin. */
size_t dpo_attention_query(const struct dpo_attention *attention, size_t head);
size_t dpo_attention_key(const struct dpo_attention *attention, size_t head);
size_t dpo_attention_value(const struct dpo_attention *attention, size_t head);

/* Keys in a block: fewer with a large head_dim. */
size_t dpo_attention_block(const struct dpo_attention *attention);

/* out[rows][heads head_dim] and log_sums[heads][rows] (L above) from qkv; for rows before `first` the results are unspecified. */
void dpo_attention_forward(int threads, const struct dpo_attention *attention, const float *qkv,
	float *out, float *log_sums);

/*
 * In one layer, row r of qkv appends its keys and values to its cache, which has room for them, and attends to all the
 * cache holds and itself: out[rows][heads head_dim]. The caches' lengths are left unchanged. attention->sequence is not
 * used. A row's bits depend on itself and its cache alone.
 */
void dpo_attention_step(int threads, const struct dpo_attention *attention, size_t layer, size_t rows,
	const float *qkv, struct dpo_cache *const *caches, float *out);

/* Floats of scratch per row that the backward pass needs. */
size_t dpo_attention_scratch(size_t heads, size_t kv_heads, size_t head_dim);

/*
 * d_qkv, shaped like qkv, from d_out, with qkv, out and log_sums of the forward pass. d_out of rows before `first` is not
 * read; it counts as 0.
 */
void dpo_attention_backward(int threads, const struct dpo_attention *attention, const float *qkv,
	const float *out, const float *log_sums, const float *d_out, float *d_qkv, float *scratch);

#endif
