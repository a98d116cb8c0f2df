/* model, content, tensors: streams of models that are wrong or cut are refused, by record. */
#include "fixture.h"
#include "model/tensors.h"
#include "models.h"
#include "stream/stream.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char *const directory = fixture_here;

/* A model stream written record by record. */
struct hand {
	struct dpo_header header;
	struct dpo_writer *writer;
	struct dpo_out out;
	char path[512];
};

static void
hand_open(struct hand *hand, const char *kind)
{
	struct dpo_error err;

	fixture_path(hand->path, directory, "hand");
	assert_int_equal(dpo_header_init(&hand->header, kind, &err), DPO_OK);
	assert_int_equal(dpo_header_add(&hand->header, "file", DPO_STR, &err), DPO_OK);
	assert_int_equal(dpo_tensors_add(&hand->header, &err), DPO_OK);
	assert_int_equal(dpo_header_add(&hand->header, "bytes", DPO_BYTES, &err), DPO_OK);
	assert_int_equal(dpo_out_open(&hand->out, hand->path, &err), DPO_OK);
	assert_int_equal(dpo_writer_open(&hand->writer, &hand->out, &hand->header,
	    DPO_LEVEL_WEIGHTS, &err), DPO_OK);
}

static void
hand_file(struct hand *hand, const char *name, const char *text, int64_t offset)
{
	struct dpo_value values[6] = { [0] = { .data = name, .count = strlen(name) },
	    [3] = { .i64 = offset },
		[5] = { .data = text, .count = strlen(text) } };
	struct dpo_error err;

	assert_int_equal(dpo_writer_put(hand->writer, values, &err), DPO_OK);
}

/* n elements of the tensor from `offset` on, under a name. */
static void
hand_tensor(struct hand *hand, const struct dpo_model *model, size_t t, const char *name,
    size_t offset, size_t n)
{
	const struct dpo_tensor *tensor = &model->params.list[t];
	int64_t shape[DPO_RANK_MAX];
	struct dpo_value values[6] = { [1] = { .data = name, .count = strlen(name) },
		[2] = { .data = shape, .count = tensor->rank }, [3] = { .i64 = (int64_t)offset },
		[4] = { .data = model->weights + tensor->offset, .count = n } };
	struct dpo_error err;

	for (size_t d = 0; d < tensor->rank; d++)
		shape[d] = (int64_t)tensor->shape[d];
	assert_int_equal(dpo_writer_put(hand->writer, values, &err), DPO_OK);
}

static void
hand_rest(struct hand *hand, const struct dpo_model *model, size_t from)
{
	for (size_t t = from; t < model->params.count; t++)
		hand_tensor(hand, model, t, model->params.list[t].name, 0,
		    model->params.list[t].count);
}

/* End it; opening it gives that. */
static void
hand_gives(struct hand *hand, enum dpo_status status, const char *words)
{
	struct dpo_model model;
	struct dpo_error err;

	assert_int_equal(dpo_writer_end(hand->writer, NULL, &err), DPO_OK);
	dpo_writer_close(hand->writer);
	assert_int_equal(dpo_out_commit(&hand->out, &err), DPO_OK);
	dpo_header_free(&hand->header);
	if (status == DPO_OK) {
		models_open_good(&model, hand->path, 1);
		dpo_model_free(&model);
	} else {
		models_open_bad(hand->path, status, words);
	}
}

static void
files_of_a_stream_are_checked(void **unused)
{
	struct dpo_model model;
	struct hand hand;

	(void)unused;
	models_make(&model, MODELS_GPT2);
	hand_open(&hand, "model");
	hand_file(&hand, "empty", "", 0);
	hand_file(&hand, "config.json", "{\"model_type\"", 0);
	hand_file(&hand, "config.json", &MODELS_GPT2[13], 13);
	hand_rest(&hand, &model, 0);
	hand_gives(&hand, DPO_OK, "");

	hand_open(&hand, "pairs");
	hand_gives(&hand, DPO_FORMAT, "kind \"pairs\"");
	hand_open(&hand, "model");
	hand_gives(&hand, DPO_FORMAT, "ends before");
	hand_open(&hand, "model");
	hand_rest(&hand, &model, 0);
	hand_gives(&hand, DPO_FORMAT, "record 1: config.json: there is no such file");
	hand_open(&hand, "model");
	hand_file(&hand, "config.json", MODELS_GPT2, 1);
	hand_gives(&hand, DPO_FORMAT, "offset 1 where 0");
	hand_open(&hand, "model");
	hand_file(&hand, "config.json", MODELS_GPT2, 0);
	hand_file(&hand, "config.json", "", (int64_t)strlen(MODELS_GPT2));
	hand_gives(&hand, DPO_FORMAT, "empty piece");
	hand_open(&hand, "model");
	hand_file(&hand, "config.json", MODELS_GPT2, 0);
	hand_file(&hand, "x", "", 0);
	hand_file(&hand, "config.json", MODELS_GPT2, 0);
	hand_file(&hand, "y", "", 0);
	hand_gives(&hand, DPO_FORMAT, "\"config.json\" appears twice");
	hand_open(&hand, "model");
	hand_file(&hand, "../escape", "x", 0);
	hand_file(&hand, "config.json", MODELS_GPT2, 0);
	hand_gives(&hand, DPO_FORMAT, "\"../escape\" is not a file name");
	hand_open(&hand, "model");
	hand_file(&hand, "config.json", MODELS_GPT2, 0);
	hand_rest(&hand, &model, 0);
	hand_file(&hand, "late", "x", 0);
	hand_gives(&hand, DPO_FORMAT, "a file after the first tensor");
	dpo_model_free(&model);
}

static void
tensors_of_a_stream_are_checked(void **unused)
{
	static const char wte[] = "transformer.wte.weight";
	struct dpo_model model;
	struct hand hand;

	(void)unused;
	models_make(&model, MODELS_GPT2);
	for (int i = 0; i < 8; i++) {
		hand_open(&hand, "model");
		hand_file(&hand, "config.json", MODELS_GPT2, 0);
		switch (i) {
		case 0:	/* one missing at the end */
			model.params.count--;
			hand_rest(&hand, &model, 0);
			model.params.count++;
			hand_gives(&hand, DPO_FORMAT,
			    "ends before tensor \"transformer.ln_f.bias\"");
			break;
		case 1:	/* one missing at the start */
			hand_rest(&hand, &model, 1);
			hand_gives(&hand, DPO_FORMAT,
			    "tensor \"transformer.wpe.weight\" where \"transformer.wte.weight\"");
			break;
		case 2:	/* an unknown name */
			hand_tensor(&hand, &model, 0, "what", 0, 88);
			hand_gives(&hand, DPO_FORMAT, "tensor \"what\" where");
			break;
		case 3:	/* a gap */
			hand_tensor(&hand, &model, 0, wte, 0, 40);
			hand_tensor(&hand, &model, 0, wte, 41, 47);
			hand_gives(&hand, DPO_FORMAT, "offset 41 where 40");
			break;
		case 4:	/* an overlap */
			hand_tensor(&hand, &model, 0, wte, 0, 40);
			hand_tensor(&hand, &model, 0, wte, 39, 49);
			hand_gives(&hand, DPO_FORMAT, "offset 39 where 40");
			break;
		case 5:	/* more than its shape */
			hand_tensor(&hand, &model, 0, wte, 0, 89);
			hand_gives(&hand, DPO_FORMAT, "more data than its shape");
			break;
		case 6:	/* another shape */
			hand_tensor(&hand, &model, 1, wte, 0, 88);
			hand_gives(&hand, DPO_FORMAT, "\"shape\"");
			break;
		default:	/* one too many */
			hand_rest(&hand, &model, 0);
			hand_tensor(&hand, &model, 0, wte, 0, 88);
			hand_gives(&hand, DPO_FORMAT, "after the last tensor");
		}
	}
	dpo_model_free(&model);
}

static void
a_record_holds_4_mib_of_a_tensor(void **unused)
{
	struct dpo_model model;
	struct hand hand;

	(void)unused;
	models_make(&model, MODELS_LLAMA);
	for (size_t more = 0; more < 2; more++) {
		size_t first = DPO_TENSORS_PIECE + more, count = model.params.list[0].count;

		hand_open(&hand, "model");
		hand_file(&hand, "config.json", MODELS_LLAMA, 0);
		hand_tensor(&hand, &model, 0, model.params.list[0].name, 0, first);
		hand_tensor(&hand, &model, 0, model.params.list[0].name, first, count - first);
		hand_rest(&hand, &model, 1);
		hand_gives(&hand, more ? DPO_LIMIT : DPO_OK, "1048577 elements in one record");
	}
	dpo_model_free(&model);
}

static void
a_cut_stream_is_no_model(void **unused)
{
	struct dpo_model model;
	struct stat about;
	char path[512];

	(void)unused;
	models_make(&model, MODELS_GPT2);
	models_put_stream(&model, fixture_path(path, directory, "stream"));
	assert_int_equal(stat(path, &about), 0);
	for (off_t cut = about.st_size; cut-- > 0;) {
		struct dpo_model opened;
		struct dpo_error err;

		assert_int_equal(truncate(path, cut), 0);
		assert_int_not_equal(dpo_model_open(&opened, path, 1, &err), DPO_OK);
		assert_null(opened.weights);
	}
	dpo_model_free(&model);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(files_of_a_stream_are_checked, fixture_set_up, fixture_tear_down),
		cmocka_unit_test_setup_teardown(tensors_of_a_stream_are_checked, fixture_set_up, fixture_tear_down),
		cmocka_unit_test_setup_teardown(a_record_holds_4_mib_of_a_tensor, fixture_set_up, fixture_tear_down),
		cmocka_unit_test_setup_teardown(a_cut_stream_is_no_model, fixture_set_up, fixture_tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
