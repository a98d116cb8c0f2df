/* weights: what a directory may hold, of models that are trained and that are only read; the rest is refused. */
#include "base/bytes.h"
#include "base/maps.h"
#include "fixture.h"
#include "model/safetensors.h"
#include "model/weights.h"
#include "models.h"

#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static char *const directory = fixture_here;

/* ------------------------------------------------------------------ 16 bit weights */

/*
 * x rounded to one that both F16 and BF16 hold: 4 bits of fraction, within F16's normal range or
 * zero.
 */
static float
coarse(float x)
{
	return fabsf(x) < 0x1p-14f ? 0 : dpo_bytes_to_float(dpo_bytes_from_float(x) & 0xfff80000u);
}

static uint16_t
to_half(float x)
{
	uint32_t bits = dpo_bytes_from_float(x);

	if (x == 0)
		return 0;
	return (uint16_t)((bits >> 16 & 0x8000) | (((bits >> 23 & 0xff) - 127 + 15) << 10) | (bits >> 13 & 0x3ff));
}

/* The model's tensors as one file of F16 or BF16, its data at an odd place if `odd`. */
static void
put_halves(const struct dpo_model *model, const char *at, bool brain, bool odd)
{
	struct dpo_buffer header = { 0 }, file = { 0 };
	size_t begin = 0;

	for (size_t t = 0; t < model->params.count; t++) {
		const struct dpo_tensor *tensor = &model->params.list[t];

		dpo_buffer_printf(&header, "%c\"%s\":{\"dtype\":\"%s\",\"shape\":[%zu", t ? ',' :
		    '{', tensor->name,
		    brain ? "BF16" : "F16", tensor->shape[0]);
		dpo_buffer_printf(&header, tensor->rank == 2 ? ",%zu]" : "]", tensor->shape[1]);
		dpo_buffer_printf(&header, ",\"data_offsets\":[%zu,%zu]}", begin,
		    begin + 2 * tensor->count);
		begin += 2 * tensor->count;
	}
	dpo_buffer_byte(&header, '}');
	while (header.len % 2 != odd)
		dpo_buffer_byte(&header, ' ');
	dpo_bytes_store64(dpo_buffer_room(&file, 8), header.len);
	dpo_buffer_append(&file, header.data, header.len);
	for (size_t t = 0; t < model->params.count; t++)
		for (size_t i = 0; i < model->params.list[t].count; i++) {
			float x = model->weights[model->params.list[t].offset + i];
			uint16_t half = brain ? (uint16_t)(dpo_bytes_from_float(x) >> 16) :
			    to_half(x);

			dpo_buffer_byte(&file, (uint8_t)half);
			dpo_buffer_byte(&file, (uint8_t)(half >> 8));
		}
	assert_false(file.failed);
	fixture_write(at, "model.safetensors", file.data, file.len);
	dpo_buffer_free(&header);
	dpo_buffer_free(&file);
}

static void
sixteen_bit_models_are_read_exactly(void **unused)
{
	struct dpo_model model, half, brain;
	struct dpo_error err;
	char path[512];

	(void)unused;
	models_make(&model, MODELS_LLAMA);
	for (size_t i = 0; i < model.params.total; i++)
		model.weights[i] = coarse(model.weights[i]);
	assert_int_equal(dpo_model_identify(&model, 2, &err), DPO_OK);
	models_make_directory(path, "half", &model);
	put_halves(&model, path, false, false);
	models_open_good(&half, path, 2);
	models_make_directory(path, "brain", &model);
	put_halves(&model, path, true, true);
	models_open_good(&brain, path, 2);
	assert_memory_equal(half.weights, model.weights,
	    model.params.total * sizeof *model.weights);
	assert_memory_equal(brain.weights, model.weights,
	    model.params.total * sizeof *model.weights);
	/* The id is over what is stored; the floats in memory have that of an F32 directory. */
	assert_string_not_equal(half.id, model.id);
	assert_string_not_equal(brain.id, model.id);
	assert_string_not_equal(half.id, brain.id);
	assert_int_equal(dpo_model_identify(&half, 2, &err), DPO_OK);
	assert_string_equal(half.id, model.id);
	dpo_model_free(&half);
	dpo_model_free(&brain);
	dpo_model_free(&model);
}

/* ------------------------------------------------------------------ models that are only read */

static void
open_frozen(struct dpo_model *model, const char *path)
{
	struct dpo_error err;

	if (dpo_model_open_frozen(model, path, 2, &err) != DPO_OK)
		fail_msg("%s", err.text);
}

/* The numbers of `model`, wherever they lie; how many tensors are mapped. */
static size_t
check_frozen(const struct dpo_model *frozen, const struct dpo_model *model)
{
	static float some[1 << 21];
	size_t mapped = 0;

	for (size_t t = 0; t < model->params.count; t++) {
		const struct dpo_tensor *tensor = &frozen->params.list[t];
		const void *data = dpo_params_data(tensor, frozen->weights);

		assert_true(tensor->count <= sizeof some / sizeof *some);
		dpo_dtype_to_float(some, data, tensor->count, tensor->dtype);
		assert_memory_equal(some, model->weights + model->params.list[t].offset, tensor->count * sizeof *some);
		mapped += tensor->mapped != NULL;
	}
	return mapped;
}

static void
floats_stay_in_their_file(void **unused)
{
	struct dpo_model model, frozen;
	char path[512];

	(void)unused;
	models_make(&model, MODELS_LLAMA);
	models_make_directory(path, "shards", &model);
	models_put_shards(&model, path);
	open_frozen(&frozen, path);
	assert_string_equal(frozen.id, model.id);
	assert_int_equal(frozen.maps.count, 2);
	assert_int_equal(check_frozen(&frozen, &model), model.params.count);
	assert_int_equal(frozen.params.total, 0);
	dpo_model_free(&frozen);
	dpo_model_free(&model);
}

/* Later than the file system's clock has told so far. */
static void
wait_a_tick(void)
{
	(void)nanosleep(&(struct timespec){ .tv_nsec = 30000000 }, NULL);
}

/* What another may do to a file: from WRITE on it is another then. What is between READ and WRITE_AND_SET_BACK touches it. */
enum deed { READ, REPLACE, MOVE, LINK, FORBID, PERMIT, WRITE_AND_SET_BACK, WRITE, LENGTHEN, DEEDS };

static void
do_deed(enum deed deed, const char *path)
{
	int fd = open(path, deed < WRITE_AND_SET_BACK ? O_RDONLY : O_RDWR);
	struct stat before;
	char other[512], byte = 'w';

	assert_int_equal(fstat(fd, &before), 0);
	if (deed == READ)
		assert_int_equal(read(fd, &byte, 1), 1);
	else if (deed == REPLACE)
		assert_int_equal(rename(fixture_path(other, directory, "other"), path), 0);
	else if (deed == MOVE)
		assert_int_equal(rename(path, fixture_path(other, directory, "moved")), 0);
	else if (deed == LINK)
		assert_int_equal(link(path, fixture_path(other, directory, "link")), 0);
	else if (deed == FORBID)
		assert_int_equal(fchmod(fd, 0400), 0);
	else if (deed == PERMIT)
		assert_int_equal(fchmod(fd, before.st_mode & 07777), 0);
	else if (deed == LENGTHEN)
		assert_int_equal(ftruncate(fd, before.st_size + 1), 0);
	else
		assert_int_equal(pwrite(fd, &byte, 1, 4096), 1);
	if (deed == WRITE_AND_SET_BACK)	/* as cp -p and rsync -t do, with times that happen to be the same */
		assert_int_equal(futimens(fd, (struct timespec[]){ before.st_atim, before.st_mtim }), 0);
	close(fd);
}

static void
a_mapped_file_that_is_written_to_is_told(void **unused)
{
	static const uint8_t bytes[8192];
	struct dpo_maps maps = { 0 };
	struct dpo_error err;
	char path[512], name[16];
	bool touched;

	(void)unused;
	fixture_write(directory, "other", bytes, sizeof bytes);
	for (enum deed deed = 0; deed < DEEDS; deed++) {
		int fd;

		snprintf(name, sizeof name, "file%d", (int)deed);
		fixture_write(directory, name, bytes, sizeof bytes);
		fd = open(fixture_path(path, directory, name), O_RDONLY);
		assert_non_null(dpo_maps_add(&maps, fd, path));
		close(fd);
		wait_a_tick();
		do_deed(deed, path);
		assert_int_equal(dpo_maps_look(&maps, &touched, &err), deed < WRITE ? DPO_OK : DPO_IO);
		assert_true(deed >= WRITE || touched == (deed != READ));
		if (deed >= WRITE) {
			assert_non_null(strstr(err.text, ": changed while it was read"));
		} else {
			assert_int_equal(dpo_maps_look(&maps, &touched, &err), DPO_OK);
			assert_false(touched);	/* it is told once */
		}
		assert_string_equal(dpo_maps_path(&maps, maps.list[0].data + 8191), path);
		dpo_maps_free(&maps);
	}
}

/* A model in a file of its own, which is mapped; position 4096 lies in its first tensor. */
static void
a_model_goes_on_if_its_file_holds_the_same(void **unused)
{
	struct dpo_model model, frozen;
	struct dpo_error err;
	char path[512], file[512], name[16];

	(void)unused;
	models_make(&model, MODELS_LLAMA);
	models_take_items(&model, 0, model.params.count);
	fixture_write(directory, "other", "", 0);	/* for REPLACE */
	for (enum deed deed = 0; deed < DEEDS; deed++) {
		snprintf(name, sizeof name, "model%d", (int)deed);
		models_make_directory(path, name, &model);
		models_put_items(path, "model.safetensors");
		open_frozen(&frozen, path);
		wait_a_tick();
		do_deed(deed, fixture_path(file, path, "model.safetensors"));
		assert_int_equal(dpo_weights_same(&frozen.params, &frozen.maps, &err), deed < WRITE_AND_SET_BACK ? DPO_OK : DPO_IO);
		if (deed >= WRITE_AND_SET_BACK)
			assert_non_null(strstr(err.text, "model.safetensors: changed while it was read"));
		dpo_model_free(&frozen);
	}
	dpo_model_free(&model);
}

static void
halves_stay_in_their_file_where_they_lie_on_their_boundary(void **unused)
{
	struct dpo_model model, frozen;
	size_t matrices = 0;
	char path[512];

	(void)unused;
	models_make(&model, MODELS_LLAMA);
	for (size_t i = 0; i < model.params.total; i++)
		model.weights[i] = coarse(model.weights[i]);
	for (size_t t = 0; t < model.params.count; t++)
		matrices += model.params.list[t].rank == 2;
	models_make_directory(path, "half", &model);
	put_halves(&model, path, false, false);
	open_frozen(&frozen, path);
	assert_int_equal(check_frozen(&frozen, &model), matrices);
	dpo_model_free(&frozen);
	models_make_directory(path, "brain", &model);
	put_halves(&model, path, true, true);
	open_frozen(&frozen, path);
	assert_int_equal(check_frozen(&frozen, &model), 0);
	dpo_model_free(&frozen);
	dpo_model_free(&model);
}

/*
 * ------------------------------------------------------------------ directories that are odd or
 * wrong
 */

static void
older_files_are_read(void **unused)
{
	static const float buffer[16] = { 1 };
	static const size_t square[] = { 1, 1, 4, 4 };
	struct dpo_model model, other;
	char path[512];

	(void)unused;
	models_make(&model, MODELS_GPT2);
	models_make_directory(path, "old", &model);
	models_take_items(&model, 0, model.params.count);
	for (size_t t = 0; t < models_n_items; t++)
		models_items[t].name += strlen("transformer.");
	models_items[models_n_items++] = (struct dpo_safetensors_item){ "h.0.attn.bias", square, 4, buffer };
	models_items[models_n_items++] = (struct dpo_safetensors_item){ "h.0.attn.masked_bias", square, 0,
	    buffer };
	models_items[models_n_items++] = (struct dpo_safetensors_item){ "lm_head.weight", models_items[0].shape, 2,
	    models_items[0].data };
	models_put_items(path, "model.safetensors");
	models_open_good(&other, path, 1);
	models_check_same(&model, &other);
	dpo_model_free(&other);

	models_items[models_n_items - 1].data = model.weights + model.params.list[1].offset;	/* the positions: large enough */
	models_put_items(path, "model.safetensors");
	models_open_bad(path, DPO_FORMAT, "\"lm_head.weight\" differs from the embedding");
	dpo_model_free(&model);
}

static void
wrong_tensors_are_refused(void **unused)
{
	static const size_t turned[] = { 16, 8 };
	struct dpo_model model;
	char path[512], file[512];
	float *nan;

	(void)unused;
	models_make(&model, MODELS_GPT2);
	models_make_directory(path, "wrong", &model);
	models_open_bad(path, DPO_FORMAT, "neither model.safetensors nor");

	models_take_items(&model, 0, model.params.count - 1);
	models_put_items(path, "model.safetensors");
	models_open_bad(path, DPO_FORMAT, "tensor \"transformer.ln_f.bias\" is missing");

	models_take_items(&model, 0, model.params.count);
	models_items[models_n_items++] = (struct dpo_safetensors_item){ "transformer.extra", turned, 1,
	    model.weights };
	models_put_items(path, "model.safetensors");
	models_open_bad(path, DPO_FORMAT, "tensor \"transformer.extra\" is superfluous");

	models_take_items(&model, 0, model.params.count);
	models_items[0].shape = turned;
	models_put_items(path, "model.safetensors");
	models_open_bad(path, DPO_FORMAT, "tensor \"transformer.wte.weight\" has 2 dimensions of 16, 8");

	models_take_items(&model, 0, model.params.count);
	nan = model.weights + model.params.list[7].offset;
	*nan = NAN;
	models_put_items(path, "model.safetensors");
	models_open_bad(path, DPO_NONFINITE, "tensor \"transformer.h.0.attn.c_proj.bias\" holds a NaN");
	*nan = 0;

	assert_int_equal(unlink(fixture_path(file, path, "config.json")), 0);
	models_open_bad(path, DPO_FORMAT, "config.json: there is no such file");
	fixture_text(path, "config.json", "{\"model_type\":\"gpt3\"}");
	models_open_bad(path, DPO_UNSUPPORTED, "wrong/config.json: model_type \"gpt3\"");
	models_open_bad(fixture_path(file, directory, "absent"), DPO_IO, "absent: No such file");
	dpo_model_free(&model);
}

static void
dtypes_of_used_tensors_are_checked(void **unused)
{
	char path[512], *bytes, *at;
	struct dpo_model model;
	size_t n;

	(void)unused;
	models_make(&model, MODELS_GPT2);
	models_make_directory(path, "dtype", &model);
	models_take_items(&model, 0, model.params.count);
	models_put_items(path, "model.safetensors");
	bytes = fixture_read(path, "model.safetensors", &n);
	assert_non_null(at = strstr(bytes + 8, "\"F32\""));
	memcpy(at, "\"I32\"", 5);
	fixture_write(path, "model.safetensors", bytes, n);
	models_open_bad(path, DPO_UNSUPPORTED, "tensor \"transformer.wte.weight\": dtype I32");
	free(bytes);
	dpo_model_free(&model);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(sixteen_bit_models_are_read_exactly, fixture_set_up, fixture_tear_down),
		cmocka_unit_test_setup_teardown(floats_stay_in_their_file, fixture_set_up, fixture_tear_down),
		cmocka_unit_test_setup_teardown(a_mapped_file_that_is_written_to_is_told, fixture_set_up, fixture_tear_down),
		cmocka_unit_test_setup_teardown(a_model_goes_on_if_its_file_holds_the_same, fixture_set_up, fixture_tear_down),
		cmocka_unit_test_setup_teardown(halves_stay_in_their_file_where_they_lie_on_their_boundary, fixture_set_up,
		    fixture_tear_down),
		cmocka_unit_test_setup_teardown(older_files_are_read, fixture_set_up, fixture_tear_down),
		cmocka_unit_test_setup_teardown(wrong_tensors_are_refused, fixture_set_up, fixture_tear_down),
		cmocka_unit_test_setup_teardown(dtypes_of_used_tensors_are_checked, fixture_set_up, fixture_tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
