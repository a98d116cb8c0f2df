/*
 * thinparts - what thin products are made of, once for each set of vector instructions. Layer 3; uses tile.
 */
#ifndef DPO_THINPARTS_H
#define DPO_THINPARTS_H

#include "kernel/tile.h"

#include <stdint.h>

/* Bits in a word of a mask. */
#define DPO_THIN_WORD ((size_t)16)

/* to[rows][columns] = what the mask leaves of from; with `add`, added to it. */
struct dpo_masked {
	size_t rows, columns;
	const float *from;
	size_t ld;
	const uint16_t *mask;
	size_t step;
	float *to;
	size_t ld_to;
	bool add;
};

/* to[columns][rows] = from[rows][columns] transposed; with `add`, added to it. */
struct dpo_turned {
	size_t rows, columns;
	const float *from;
	size_t ld;
	float *to;
	size_t ld_to;
	bool add;
};

/* B of a product is not transposed. */
struct dpo_thin_set {
	void (*mask)(const struct dpo_masked *);
	void (*turn)(const struct dpo_turned *);
	void (*multiply)(const struct dpo_tile *);
};

extern const struct dpo_thin_set dpo_thin_avx2, dpo_thin_avx512;

#endif
