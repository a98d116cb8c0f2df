/* gradient: the sum of a batch's rows over a tree of slots is that of its groups, each computed alone, added by hand. */
#include "base/size.h"
#include "fixture.h"
#include "models.h"
#include "train/gradient.h"
#include "train/train.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

enum { ROWS = 8, VOCAB = 11, FLOATS = 4096 };

static struct dpo_model model;
static struct dpo_spool *spool;
static struct dpo_rowset rows;
static struct dpo_recipe recipe;

static void
good(enum dpo_status status, const struct dpo_error *err)
{
	if (status != DPO_OK)
		fail_msg("%s", err->text);
}

static void
put_row(struct dpo_writer *writer, int32_t number)
{
	int32_t prompt[] = { number, 3 }, chosen[] = { number * 7 % VOCAB, 4, 1 }, rejected[] = { 5, number * 3 % VOCAB };
	struct dpo_error err;

	good(dpo_writer_put(writer, (struct dpo_value[]){ { "row", 3, 0, 0 }, { prompt, 2, 0, 0 }, { chosen, 3, 0, 0 },
	    { rejected, 2, 0, 0 } }, &err), &err);
}

static void
write_rows(const char *path)
{
	static const char *const names[] = { "prompt", "chosen", "rejected" };
	struct dpo_header header;
	struct dpo_writer *writer;
	struct dpo_error err;
	struct dpo_out out;

	good(dpo_header_init(&header, "pairs", &err), &err);
	good(dpo_header_add(&header, "id", DPO_STR, &err), &err);
	for (size_t i = 0; i < 3; i++)
		good(dpo_header_add(&header, names[i], DPO_I32S, &err), &err);
	good(dpo_out_open(&out, path, &err), &err);
	good(dpo_writer_open(&writer, &out, &header, DPO_LEVEL_TABLE, &err), &err);
	for (int32_t i = 0; i < ROWS; i++)
		put_row(writer, i);
	good(dpo_writer_end(writer, NULL, &err), &err);
	dpo_writer_close(writer);
	good(dpo_out_commit(&out, &err), &err);
	dpo_header_free(&header);
}

static void
read_rows(const char *path)
{
	struct dpo_reader *reader;
	struct dpo_error err;

	good(dpo_reader_open(&reader, open(path, O_RDONLY), "rows", &err), &err);
	good(dpo_spool_load(&spool, reader, &err), &err);
	good(dpo_rowset_init(&rows, spool, dpo_reader_header(reader), &model.config, &recipe.objective, "rows", &err), &err);
	dpo_reader_close(reader);
}

static void
make_recipe(void)
{
	struct dpo_error err;

	recipe = (struct dpo_recipe){
		.objective = { .losses = { dpo_loss_find("sigmoid") }, .weights = { 1 }, .n = 1, .settings = { .beta = 0.1 },
		    .divergence = &dpo_divergences[0], .reference_free = true },
		.optim = { .optimizer = dpo_optim_find("sgd") }, .schedule = { .schedule = dpo_schedule_find("constant") },
		.epochs = 1, .batch_size = ROWS, .grad_slots = 1, .logging_steps = 1,
	};
	good(dpo_objective_check(&recipe.objective, 0, &err), &err);
}

static int
set_up(void **state)
{
	char path[512];

	fixture_set_up(state);
	models_make(&model, MODELS_GPT2);
	assert_true(model.params.total <= FLOATS);
	make_recipe();
	write_rows(fixture_path(path, fixture_here, "rows"));
	read_rows(path);
	return 0;
}

static int
tear_down(void **state)
{
	dpo_rowset_free(&rows);
	dpo_spool_free(spool);
	dpo_model_free(&model);
	return fixture_tear_down(state);
}

/* The gradient of the mean over rows [begin, end), summed by so many slots. */
static void
gradient_of(size_t begin, size_t end, uint64_t slots, float *gradient)
{
	uint32_t index[ROWS];
	struct dpo_batch batch = { .rows = index, .n = end - begin };
	struct dpo_train *train;
	struct dpo_error err = { .text = "" };

	for (size_t i = begin; i < end; i++)
		index[i - begin] = (uint32_t)i;
	recipe.grad_slots = slots;
	good(dpo_train_new(&train, &recipe, &model, &rows, NULL, 2, &err), &err);
	good(dpo_gradient_sum(train, &batch, &err), &err);
	assert_int_equal(batch.metrics.rows, end - begin);
	memcpy(gradient, train->gradients[0], model.params.total * sizeof *gradient);
	dpo_train_free(train);
}

/* What rows [begin, end) add to the gradient of the mean over all: by a power of two less than alone, so without rounding. */
static void
share_of(size_t begin, size_t end, float *share)
{
	gradient_of(begin, end, 1, share);
	for (size_t i = 0; i < model.params.total; i++)
		share[i] *= (float)(end - begin) / ROWS;
}

static void
check(uint64_t slots, const float *sum)
{
	static float found[FLOATS];

	gradient_of(0, ROWS, slots, found);
	for (size_t i = 0; i < model.params.total; i++)
		if (found[i] != sum[i])
			fail_msg("%d slots, number %zu: %a instead of %a", (int)slots, i, (double)found[i], (double)sum[i]);
}

static void
test_slots(void **state)
{
	static const size_t bounds[] = { 0, 1, 3, 4, 6, 8 };	/* of five slots: 8 k / 5 */
	static float parts[5][FLOATS], sum[FLOATS], whole[FLOATS];
	size_t n = model.params.total;

	(void)state;
	gradient_of(0, ROWS, 1, whole);
	share_of(0, 4, parts[0]);
	share_of(4, 8, parts[1]);
	for (size_t i = 0; i < n; i++)
		sum[i] = parts[0][i] + parts[1][i];
	assert_memory_not_equal(sum, whole, n * sizeof *sum);	/* the order shows */
	check(2, sum);

	for (size_t k = 0; k < 4; k++)
		share_of(2 * k, 2 * k + 2, parts[k]);
	for (size_t i = 0; i < n; i++)
		sum[i] = (parts[0][i] + parts[1][i]) + (parts[2][i] + parts[3][i]);
	check(4, sum);

	for (size_t k = 0; k < 5; k++)
		share_of(bounds[k], bounds[k + 1], parts[k]);
	for (size_t i = 0; i < n; i++)
		sum[i] = (parts[0][i] + parts[1][i]) + (parts[2][i] + (parts[3][i] + parts[4][i]));
	check(5, sum);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_slots),
	};

	return cmocka_run_group_tests_name("gradient", tests, set_up, tear_down);
}
