/*
 * thin_loops - what masks and turns operands of thin products, for one set of vector instructions. Layer 4; uses thinparts, size.
 *
 * Included once for each set, after its vectors.
 */

DPO_SET static void
mask_lanes(const struct dpo_masked *m)
{
	for (size_t i = 0; i < m->rows; i++)
		for (size_t j = 0; j < m->columns; j += DPO_LANES) {
			size_t n = m->columns - j;
			dpo_vec sum = dpo_load_masked(m->from + i * m->ld + j, n, m->mask + i * m->step, j);
			float *to = m->to + i * m->ld_to + j;

			if (m->add)
				sum = dpo_add(dpo_load_first(to, n), sum);
			dpo_store_first(to, n, sum);
		}
}

/* A square of up to DPO_LANES each way. */
DPO_SET static void
turn_square(size_t rows, size_t columns, const struct dpo_turned *t, const float *from, float *to)
{
	dpo_vec square[DPO_LANES];

	dpo_turn(square, from, t->ld, rows, columns);
	for (size_t j = 0; j < columns; j++) {
		if (t->add)
			square[j] = dpo_add(dpo_load_first(to + j * t->ld_to, rows), square[j]);
		dpo_store_first(to + j * t->ld_to, rows, square[j]);
	}
}

static void
turn_lanes(const struct dpo_turned *t)
{
	for (size_t i = 0; i < t->rows; i += DPO_LANES)
		for (size_t j = 0; j < t->columns; j += DPO_LANES)
			turn_square(dpo_size_least(t->rows - i, DPO_LANES), dpo_size_least(t->columns - j, DPO_LANES), t,
			    t->from + i * t->ld + j, t->to + j * t->ld_to + i);
}
