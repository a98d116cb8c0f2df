/*
 * turn_loops - transposes a matrix, for one set of vector instructions. Layer 4; uses thinparts, size.
 *
 * Included once for each set, after its vectors, before strip_loops.h and thin_loops.h.
 */

/* A square of up to DPO_LANES each way; `add` is the matrix's, a constant when compiled. */
DPO_SET_INLINE void
turn_square(const bool add, const struct dpo_turned *t, size_t i, size_t j)
{
	size_t n = dpo_size_least(t->rows - i, DPO_LANES), inner = dpo_size_least(t->columns - j, DPO_LANES);
	float *to = t->to + j * t->ld_to + i;
	dpo_vec square[DPO_LANES];

	dpo_turn(square, t->from + i * t->ld + j, t->ld, n, inner);
#pragma GCC unroll 16
	for (size_t k = 0; k < DPO_LANES; k++)
		if (k < inner && add)
			dpo_store_first(to + k * t->ld_to, n, dpo_add(dpo_load_first(to + k * t->ld_to, n), square[k]));
		else if (k < inner)
			dpo_store_first(to + k * t->ld_to, n, square[k]);
}

DPO_SET static void
turn_lanes(const struct dpo_turned *t)
{
	for (size_t i = 0; i < t->rows; i += DPO_LANES)
		for (size_t j = 0; j < t->columns; j += DPO_LANES)
			if (t->add)
				turn_square(true, t, i, j);
			else
				turn_square(false, t, i, j);
}
