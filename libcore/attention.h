/*
 * attention - causal attention of a packed sequence, forward and backward, and of one row against a
 * cache. Layer 5; uses cache, gemm, pack, parallel, vector.
 *
 *	o_i = sum_j p_ij v_j,  p_ij = exp(s_ij - L_i),  s_ij = q_i . k_j / sqrt(head_dim),
 *	L_i = log sum_j exp(s_ij),
 *
 * j over the rows that row i sees (struct dpo_segment). Computed in blocks of rows and keys with a
 * running maximum (Dao et al. 2022, arXiv:2205.14135, algorithm 1), so no matrix of scores is
 * kept: the backward pass computes p again from L. Query head h reads key head h / (heads /
 * kv_heads) (Ainslie et al. 2023, arXiv:2305.13245). Bits do not depend on the thread count.
 */
#ifndef DPO_ATTENTION_H
#define DPO_ATTENTION_H

#include "cache.h"
#include "pack.h"

/* qkv[rows][(heads + 2 kv_heads) head_dim]: queries, keys, values. */
struct dpo_attention {
	const struct dpo_sequence *sequence;
	size_t heads, kv_heads, head_dim;
	size_t first;		/* rows before it only serve as keys and values: nothing is wanted of them */
};

/* out[rows][heads head_dim] and log_sums[heads][rows] (L above) from qkv; of rows before `first` whatever it may be. */
void dpo_attention_forward(int threads, const struct dpo_attention *attention, const float *qkv,
	float *out, float *log_sums);

/*
 * Row r of qkv against positions 0 .. caches[r]->length of a layer of its cache, where its own keys and
 * values are already: out[rows][heads head_dim]. attention->sequence is not used. A row's bits depend on
 * itself and its cache alone.
 */
void dpo_attention_step(int threads, const struct dpo_attention *attention, size_t layer, size_t rows,
	const float *qkv, struct dpo_cache *const *caches, float *out);

/*
 * d_qkv, shaped as qkv, from d_out, with qkv, out and log_sums of the forward pass. d_out of rows before `first` is not
 * read: it counts as 0.
 */
void dpo_attention_backward(int threads, const struct dpo_attention *attention, const float *qkv,
	const float *out, const float *log_sums, const float *d_out, float *d_qkv);

#endif
