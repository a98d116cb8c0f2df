#include "train/estimate.h"

#include "base/parallel.h"
#include "base/size.h"
#include "decoder/score.h"
#include "kernel/gemm.h"
#include "kernel/mixed.h"
#include "model/tensors.h"
#include "stream/block.h"
#include "train/optim.h"
#include "train/train.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ------------------------------------------------------------------ memory */

/* *bytes += n * each, and the total. */
static bool
add(struct dpo_estimate *e, size_t *bytes, size_t n, size_t each)
{
	size_t more;

	return dpo_size_mul(n, each, &more) && dpo_size_add(*bytes, more, bytes) && dpo_size_add(e->total, more, &e->total);
}

/* What lies in mapped files, which count as they are used. */
static size_t
mapped_bytes(const struct dpo_params *params)
{
	size_t bytes = 0;

	for (size_t i = 0; i < params->count; i++)
		if (params->list[i].mapped)
			bytes += params->list[i].count * dpo_dtype_size(params->list[i].dtype);
	return bytes;
}

/* The scorer's working memory for all rows of both sets. */
static enum dpo_status
find_room(struct dpo_room *room, const struct dpo_recipe *recipe, const struct dpo_model *model, bool train,
    struct dpo_rowset *data, struct dpo_rowset *eval, int threads, struct dpo_error *err)
{
	static const float nothing[16];	/* an outline has no weights, and none are read */
	struct dpo_passes passes = { model->lora, train, recipe->recompute, recipe->bf16, threads };
	struct dpo_scorer *scorer;
	enum dpo_status status;

	*room = (struct dpo_room){ 0 };
	if ((status = dpo_scorer_new(&scorer, &model->config, &model->params, nothing, &passes, err)) != DPO_OK)
		return status;
	dpo_scorer_dropout(scorer, train ? &(struct dpo_dropout_key){ 0 } : NULL);
	status = dpo_rowset_room(data, eval, scorer, room, err);
	dpo_scorer_free(scorer);
	return status;
}

static size_t
rope_floats(const struct dpo_config *config, size_t longest)
{
	return config->family->position == DPO_POSITION_ROPE ? 2 * longest * config->rope.dim : 0;
}

/* The blocks held while trained weights are written, and those being compressed or filled: each of a piece of a tensor. */
static size_t
output_bytes(const struct dpo_params *params, int threads)
{
	size_t piece = 0;

	for (size_t i = 0; i < params->count; i++)
		if (params->list[i].count > piece)
			piece = params->list[i].count;
	piece = dpo_size_least(piece, DPO_TENSORS_PIECE);
	return sizeof(float) * (dpo_size_least(params->total, DPO_BLOCK_HELD * piece) +
	    dpo_size_least(params->total, ((size_t)threads + 1) * piece));
}

static enum dpo_status
add_memory(struct dpo_estimate *e, const struct dpo_recipe *recipe, const struct dpo_model *model, struct dpo_rowset *data,
    struct dpo_rowset *eval, size_t longest, int threads, struct dpo_error *err)
{
	struct dpo_trained trained = dpo_model_trained(model);
	size_t floats = trained.params->total;
	struct dpo_room room, moving = { 0 };
	enum dpo_status status = find_room(&room, recipe, model, true, data, eval, threads, err);

	if (status == DPO_OK && recipe->ref_sync_steps)
		status = find_room(&moving, recipe, model, false, data, eval, threads, err);
	if (status != DPO_OK)
		return status;
	e->parameters = model->params.parameters;
	e->trained = trained.params->parameters;
	if (add(e, &e->weights, model->params.total, sizeof(float)) && add(e, &e->weights, mapped_bytes(&model->params), 1) &&
	    add(e, &e->packed, room.packs, 1) && add(e, &e->reference, moving.packs, 1) &&
	    (!model->lora || add(e, &e->weights, floats, sizeof(float))) &&
	    add(e, &e->gradients, floats, dpo_train_depth(recipe->grad_slots) * sizeof(float)) &&
	    add(e, &e->moments, dpo_optim_floats(trained.params, &recipe->optim), sizeof(float)) &&
	    (!recipe->load_best || add(e, &e->best, floats, sizeof(float))) &&
	    (!recipe->ref_sync_steps || (add(e, &e->reference, model->params.total, sizeof(float)) &&
	    add(e, &e->reference, moving.decoder, sizeof(float)) && add(e, &e->reference, moving.head, sizeof(float)))) &&
	    add(e, &e->output, output_bytes(trained.params, threads), 1) &&
	    add(e, &e->activations, room.decoder, sizeof(float)) && add(e, &e->activations, room.head, sizeof(float)) &&
	    add(e, &e->activations, rope_floats(&model->config, longest), sizeof(float)))
		return DPO_OK;
	return dpo_fail(err, DPO_LIMIT, "the run needs more memory than can be counted");
}

/* ------------------------------------------------------------------ operations */

/* Of all rows of a set together. */
struct work {
	double rows;		/* of packed sequences */
	double head_rows;
	double seen;		/* pairs of a row and one that it sees */
	double tokens, answers;	/* as the data have them; those of answers */
	size_t longest;
};

static enum dpo_status
add_up(struct work *work, struct dpo_rowset *set, struct dpo_error *err)
{
	struct dpo_row row;
	enum dpo_status status = DPO_OK;

	for (size_t i = 0; i < set->rows && status == DPO_OK; i++) {
		const struct dpo_example *x = &row.example;
		double n;

		if ((status = dpo_rowset_get(set, i, &row, err)) != DPO_OK)
			break;
		n = (double)x->n_prompt;
		work->rows += n;
		work->seen += n * (n + 1) / 2;
		work->tokens += n;
		work->head_rows += x->n_prompt > 0;
		for (size_t a = 0; a < x->n_answers; a++) {
			double m = (double)x->n_answer[a] - 1;

			work->rows += m;
			work->head_rows += m;
			work->seen += m * n + m * (m + 1) / 2;
			work->tokens += m + 1;
			work->answers += m + 1;
			work->longest = x->n_prompt + x->n_answer[a] > work->longest ? x->n_prompt + x->n_answer[a] : work->longest;
		}
	}
	return status;
}

/* Multiplications forward: the layers' maps, the last layer's only where something is predicted; scores and values; the head. */
static double
multiplications(const struct dpo_model *model, const struct work *work)
{
	const struct dpo_config *config = &model->config;
	double linear = 0, layers = (double)config->layers, hidden = (double)config->hidden_size;

	for (size_t i = 0; i < model->params.count; i++)
		if (model->params.list[i].linear)
			linear += (double)model->params.list[i].count;
	linear /= layers;
	return linear * ((layers - 1) * work->rows + work->head_rows) +
	    2 * layers * (double)(config->heads * config->head_dim) * work->seen +
	    hidden * (double)config->vocab_size * work->head_rows;
}

/* How often an evaluation goes through the eval set. */
static double
evaluations(const struct dpo_recipe *recipe, uint64_t steps)
{
	double after = recipe->eval_steps ? (double)(steps / recipe->eval_steps + (steps % recipe->eval_steps != 0)) : 1;

	return after + recipe->eval_first;
}

static void
add_operations(struct dpo_estimate *e, const struct dpo_recipe *recipe, const struct dpo_model *model, const struct work *data,
    const struct work *eval, double passes)
{
	double backward = model->lora ? 1 : 2, times = 1 + backward + recipe->objective.whole_batch + recipe->recompute;
	double after = recipe->ref_sync_steps && recipe->ref_sync_steps < e->steps ?
	    1 - (double)recipe->ref_sync_steps / (double)e->steps : 0;	/* the share of steps with a reference that moved */

	e->operations = 2 * multiplications(model, data) * passes * (times + after) +
	    2 * multiplications(model, eval) * evaluations(recipe, e->steps) * (1 + after);
	/* Gradients are read for their norm, then read and cleared, weights and moments read and written. */
	e->traffic = (double)e->steps * (3 * (double)e->gradients + 2 * (double)e->moments + 8 * (double)e->trained);
}

enum dpo_status
dpo_estimate_run(struct dpo_estimate *estimate, const struct dpo_recipe *recipe, const struct dpo_model *model,
    struct dpo_rowset *data, struct dpo_rowset *eval, int threads, struct dpo_error *err)
{
	struct dpo_estimate *e = estimate;
	struct work work = { 0 }, evaluation = { 0 };
	size_t longest;
	uint64_t per_epoch, within;
	double passes;
	enum dpo_status status = add_up(&work, data, err);

	*e = (struct dpo_estimate){ 0 };
	if (status == DPO_OK && eval)
		status = add_up(&evaluation, eval, err);
	longest = work.longest > evaluation.longest ? work.longest : evaluation.longest;
	if (status == DPO_OK)
		status = add_memory(e, recipe, model, data, eval, longest, threads, err);
	if (status != DPO_OK)
		return status;
	e->steps = dpo_recipe_steps(recipe, data->rows, &per_epoch);
	within = e->steps % per_epoch * recipe->batch_size;
	e->rows = e->steps / per_epoch * data->rows + within;
	passes = (double)e->rows / (double)data->rows;
	e->tokens = (uint64_t)(work.tokens * passes + 0.5);
	add_operations(e, recipe, model, &work, &evaluation, passes);
	if (recipe->ref_sync_steps && !add(e, &e->reference, (size_t)(work.answers + evaluation.answers), sizeof(float)))
		return dpo_fail(err, DPO_LIMIT, "the run needs more memory than can be counted");
	return DPO_OK;
}

/* ------------------------------------------------------------------ time */

enum { ROWS = 512, WIDEST = 1024, FLOATS = 1 << 22, TRIES = 3 };
static const double LITTLE = 1e10;	/* operations or bytes that are done before they are measured */

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* The product that is timed, in one block; what it packs to lies first, where a block begins is aligned. */
static struct dpo_product
timed_product(float *block, size_t width)
{
	float *a = block + DPO_MIXED_SCRATCH, *b = a + ROWS * width, *c = b + width * width;

	return (struct dpo_product){ .rows = ROWS, .columns = width, .inner = width, .a = { a, width, false },
	    .b = { b, width, true }, .c = c, .ldc = width, .scratch = block };
}

/* Seconds for that many operations, by products of the model's width, the best of several; 0 without memory. */
static double
product_time(double wanted, size_t width, bool bf16, int threads)
{
	float *block = dpo_alloc_aligned(DPO_MIXED_SCRATCH + (2 * ROWS + width) * width, sizeof *block);
	struct dpo_product product;
	double best = 0, operations = 2.0 * ROWS * (double)width * (double)width, begin = now();

	if (!block)
		return 0;
	product = timed_product(block, width);
	for (int i = 0; i < TRIES || (wanted > LITTLE && now() - begin < 0.05); i++) {
		double start = now(), speed;

		if (bf16)
			dpo_mixed_product(threads, &product, NULL);
		else
			dpo_gemm(threads, &product);
		speed = operations / (now() - start);
		best = speed > best ? speed : best;
	}
	free(block);
	return wanted / best;
}

static void
copy_half(void *context, size_t item)
{
	float *block = context;

	memcpy(block + FLOATS / 2 + item * (FLOATS / 8), block + item * (FLOATS / 8), FLOATS / 8 * sizeof *block);
}

/* The same for bytes read and written; the time for a few of them is negligible. */
static double
memory_time(double wanted, int threads)
{
	float *block = wanted > LITTLE ? dpo_alloc_aligned(FLOATS, sizeof *block) : NULL;
	double best = 0;

	if (!block)
		return 0;
	for (int i = 0; i < TRIES; i++) {
		double start = now(), speed;

		dpo_parallel_for(threads, 4, copy_half, block);
		speed = FLOATS * sizeof *block / (now() - start);
		best = speed > best ? speed : best;
	}
	free(block);
	return wanted / best;
}

void
dpo_estimate_time(struct dpo_estimate *estimate, const struct dpo_model *model, bool bf16, int threads)
{
	size_t width = model->config.hidden_size < WIDEST ? model->config.hidden_size : WIDEST;

	threads = dpo_gemm_threads(threads);
	estimate->seconds = product_time(estimate->operations, width, bf16, threads) + memory_time(estimate->traffic, threads);
}
