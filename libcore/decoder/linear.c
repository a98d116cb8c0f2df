#include "decoder/linear.h"

#include "base/parallel.h"
#include "kernel/gemm.h"
#include "kernel/mixed.h"
#include "kernel/vector.h"

size_t
dpo_linear_scratch(int threads, const struct dpo_linear *linear, bool back)
{
	size_t forward = dpo_gemm_scratch(threads, linear->out, linear->in), input = dpo_gemm_scratch(threads, linear->in,
	    linear->out);

	if (linear->bf16)
		return DPO_MIXED_SCRATCH;
	return linear->dtype == DPO_DTYPE_F32 ? 0 : back && input > forward ? input : forward;
}

/* The packed weight, the product's B; NULL if it is not kept. */
static const struct dpo_bf16_packed *
packed(int threads, struct dpo_linear_pack *pack, const struct dpo_product *product)
{
	if (!pack || !pack->data)
		return NULL;
	if (!pack->fresh)
		pack->packed = dpo_mixed_pack(threads, product, pack->data);
	pack->fresh = true;
	return &pack->packed;
}

/* pack: of the weight, if that is the product's B; or NULL. */
static void
multiply(int threads, const struct dpo_linear *linear, struct dpo_linear_pack *pack, const struct dpo_product *product)
{
	if (linear->bf16)
		dpo_mixed_product(threads, product, packed(threads, pack, product));
	else
		dpo_gemm(threads, product);
}

void
dpo_linear_forward(int threads, const struct dpo_linear *linear, size_t rows, struct dpo_matrix x,
    struct dpo_matrix residual, struct dpo_matrix y)
{
	bool out_in = linear->layout == DPO_LAYOUT_OUT_IN;

	multiply(threads, linear, linear->pack, &(struct dpo_product){
	    .rows = rows, .columns = linear->out, .inner = linear->in,
	    .a = { x.data, x.ld, false },
	    .b = { linear->weight, out_in ? linear->in : linear->out, out_in },
	    .b_dtype = linear->dtype, .scratch = linear->scratch,
	    .c = y.data, .ldc = y.ld,
	    .bias = linear->bias, .residual = residual.data, .ld_residual = residual.ld });
}

void
dpo_linear_backward_input(int threads, const struct dpo_linear *linear, size_t rows,
    struct dpo_matrix dy, bool keep, struct dpo_matrix dx)
{
	bool out_in = linear->layout == DPO_LAYOUT_OUT_IN;

	multiply(threads, linear, linear->pack ? &linear->pack[1] : NULL, &(struct dpo_product){
	    .rows = rows, .columns = linear->in, .inner = linear->out,
	    .a = { dy.data, dy.ld, false },
	    .b = { linear->weight, out_in ? linear->in : linear->out, !out_in },
	    .b_dtype = linear->dtype, .scratch = linear->scratch,
	    .c = dx.data, .ldc = dx.ld, .keep = keep });
}

/* Columns a bias item sums, and rows it sums in float before it adds them to the rest. */
enum { COLUMNS = 256, ROWS = 64 };

struct column_sums {
	size_t rows, columns;
	struct dpo_matrix dy;
	float *sums;
};

static void
sum_columns(void *context, size_t item)
{
	const struct column_sums *s = context;
	size_t first = item * COLUMNS;
	size_t n = s->columns - first < COLUMNS ? s->columns - first : COLUMNS;

	for (size_t row = 0; row < s->rows; row += ROWS)
		dpo_vector_add_rows(s->sums + first, s->dy.data + row * s->dy.ld + first, s->dy.ld,
		    s->rows - row < ROWS ? s->rows - row : ROWS, n);
}

void
dpo_linear_backward_weight(int threads, const struct dpo_linear *linear, size_t rows,
    struct dpo_matrix x, struct dpo_matrix dy)
{
	bool out_in = linear->layout == DPO_LAYOUT_OUT_IN;
	struct dpo_operand left = { out_in ? dy.data : x.data, out_in ? dy.ld : x.ld, true };
	struct dpo_operand right = { out_in ? x.data : dy.data, out_in ? x.ld : dy.ld, false };
	struct column_sums sums = { rows, linear->out, dy, linear->d_bias };

	if (linear->d_weight)
		multiply(threads, linear, NULL, &(struct dpo_product){
		    .rows = out_in ? linear->out : linear->in,
		    .columns = out_in ? linear->in : linear->out, .inner = rows,
		    .a = left, .b = right, .scratch = linear->scratch,
		    .c = linear->d_weight, .ldc = out_in ? linear->in : linear->out, .keep = true });
	if (linear->d_bias)
		dpo_parallel_for(rows * linear->out < 32768 ? 1 : threads,
		    (linear->out + COLUMNS - 1) / COLUMNS, sum_columns, &sums);
}
