/*
 * thin_loops - masks the operands of thin products, for one set of vector instructions. Layer 4; uses thinparts.
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
