/*
 * rope - rotary positions (Su et al. 2021, arXiv:2104.09864) in the half-rotation form of Hugging
 * Face's Llama. Layer 5; uses family, parallel, vector.
 *
 * Elements i and i + d/2 of a head's first d are rotated by the angle position f_i; the rest of the
 * head is left alone. All is computed in float, as in transformers. With g_i = theta^(-2i/d):
 *
 *	plain		f = g
 *	linear		f = g / factor
 *	dynamic		theta is theta (factor n/o - factor + 1)^(d/(d-2)), n = max(length, o)
 *	llama3		f = g where 2 pi/g < o/high, g / factor where 2 pi/g > o/low, between them
 *			(1-s) g/factor + s g, s = (o g/(2 pi) - low) / (high - low)
 *	yarn		f = r g/factor + (1-r) g, r rising from 0 to 1 between the i at which a head
 *			turns beta_fast and beta_slow times in o (arXiv:2309.00071, section 3.2)
 *	longrope	f = g / short_factor_i, or long_factor_i where length > o (arXiv:2402.13753)
 *
 * o is the number of positions before stretching, length the tokens of prompt and answer. Cosines
 * and sines are multiplied by `scale`.
 */
#ifndef DPO_ROPE_H
#define DPO_ROPE_H

#include "model/family.h"

/* Lengths with an equal result share frequencies. */
size_t dpo_rope_choice(const struct dpo_rope *rope, size_t length);

/* Sequences up to this length have the frequencies of short ones; SIZE_MAX if all do. */
size_t dpo_rope_steady(const struct dpo_rope *rope);

/* g_i / f_i, i below dim / 2, where it does not depend on the length. */
float dpo_rope_divisor(const struct dpo_rope *rope, size_t i);

/* table[positions][2][dim / 2]: cosines, then sines, of each position, for sequences of `length`. */
void dpo_rope_table(float *table, size_t positions, const struct dpo_rope *rope, size_t length);

/* `heads` heads of each row: the first at column `first`, the others `step` columns apart. */
struct dpo_rope_heads {
	size_t first, step, heads;
};

/*
 * Rotate these heads of the rows of x, ld floats apart, in place; sign 1 forward, -1 for the
 * gradient (the transposed rotation). positions[rows] index the table, whose dim is `dim`.
 */
void dpo_rope_apply(int threads, const float *table, size_t dim, const int32_t *positions,
	size_t rows, float *x, size_t ld, struct dpo_rope_heads heads, float sign);

#endif
