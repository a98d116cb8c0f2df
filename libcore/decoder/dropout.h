/*
 * dropout - elements set to zero at random (Srivastava et al. 2014, JMLR 15), without random state. Layer 3; uses size, random,
 * parallel.
 *
 * With t = round(65536 p): an element is dropped if its 16 random bits are below t, and the others are multiplied by 65536
 * / (65536 - t), so that the mean over all masks is the element. The bits come from (seed, name, step, row) and the
 * element's place alone: a repeated pass, on any number of threads, has the same mask.
 */
#ifndef DPO_DROPOUT_H
#define DPO_DROPOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct dpo_dropout_key {
	uint64_t seed, step, row;	/* row: of the data, not of a matrix */
};

struct dpo_dropout {
	double p;			/* in [0, 1); 0: nothing is dropped */
	struct dpo_dropout_key key;
	const char *name;		/* of what it acts on, at most 95 bytes; borrowed */
	uint16_t *mask;			/* dpo_dropout_words(n) numbers a row; a bit per element, 1: it stays */
};

/* Numbers of the mask of a row of n elements. */
size_t dpo_dropout_words(size_t n);

/* Draw the mask of rows x n elements; bits beyond a row's last element are meaningless. */
void dpo_dropout_draw(int threads, const struct dpo_dropout *dropout, size_t rows, size_t n);

/* What the elements that stay are multiplied by; 1 if p is 0. Multiplying is up to whoever reads them through the mask (thin.h). */
float dpo_dropout_factor(const struct dpo_dropout *dropout);

#endif
