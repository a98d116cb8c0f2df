/*
 * skinny - the linear map of a few rows: a step of generation. Layer 6; uses size, cpu, dtype, linear, parallel, vector,
 * skinny_kernel.
 *
 * A step reads every weight once for a handful of rows, so it is bound by memory, not by arithmetic. These loops read each
 * weight once for at least 16 rows, from several runs of memory side by side or by asking for it early, whichever is the
 * fastest, and sum every element of y over `in` in one order that depends on the layout, the weight's shape and the
 * processor, never on the number of rows: a row's result has the same bits alone and among others. (A BLAS chooses its
 * kernel by the shape.) F16 and BF16 weights are read as they are stored: a step takes half the time. The caller chooses
 * the set of instructions.
 */
#ifndef DPO_SKINNY_H
#define DPO_SKINNY_H

#include "base/cpu.h"
#include "decoder/linear.h"

/* Floats of scratch that (in,out) weights with `out` outputs need; SIZE_MAX if they overflow. */
size_t dpo_skinny_scratch(size_t rows, size_t out);

/*
 * As dpo_linear_forward, but for the scratch, with the loops of a set that the processor has. Bits do not depend on rows or
 * threads.
 */
void dpo_skinny_forward(enum dpo_cpu set, int threads, const struct dpo_linear *linear, size_t rows,
	struct dpo_matrix x, struct dpo_matrix residual, struct dpo_matrix y);

#endif
