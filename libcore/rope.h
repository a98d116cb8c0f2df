/*
 * rope - rotary positions (Su et al. 2021, arXiv:2104.09864) in the half-rotation form of Hugging
 * Face's Llama. Layer 5; uses parallel, vector.
 *
 * Elements i and i + d/2 of a head are rotated by the angle position theta^(-2i/d), computed in
 * float as there.
 */
#ifndef DPO_ROPE_H
#define DPO_ROPE_H

#include <stddef.h>
#include <stdint.h>

/* table[positions][2][head_dim / 2]: cosines, then sines, of each position. */
void dpo_rope_table(float *table, size_t positions, size_t head_dim, double theta);

/*
 * Rotate the first `heads` heads of each of the rows of x, ld floats apart, in place; sign 1
 * forward, -1 for the gradient (the inverse rotation). positions[rows] index the table.
 */
void dpo_rope_apply(int threads, const float *table, const int32_t *positions, size_t rows,
	float *x, size_t ld, size_t heads, size_t head_dim, float sign);

#endif
