/*
 * model, weights, identity, tensors, export: directory, shards and stream are one model with one
 * id; floats survive bit for bit; what is missing, superfluous or out of place is refused.
 */
#include "bytes.h"
#include "export.h"
#include "fixture.h"
#include "identity.h"
#include "model.h"
#include "safetensors.h"
#include "safewrite.h"
#include "stream.h"
#include "tensors.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define GPT2 "{\"model_type\":\"gpt2\",\"vocab_size\":11,\"n_embd\":8,\"n_layer\":2,\"n_head\":2,\"n_positions\":16}"
/* The embedding is larger than a leaf and than a record. */
#define LLAMA "{\"model_type\":\"llama\",\"vocab_size\":70001,\"hidden_size\":16,\"intermediate_size\":12," \
	"\"num_hidden_layers\":1,\"num_attention_heads\":4,\"num_key_value_heads\":2,\"tie_word_embeddings\":true}"

static char *const directory = fixture_here;

/* ------------------------------------------------------------------ making models */

/* A model with random weights and a small tokenizer file. */
static void
make(struct dpo_model *model, const char *config)
{
	struct dpo_error err = { 0 };
	char path[512];

	fixture_text(directory, "start.json", config);
	fixture_text(directory, "vocab.json", "{\"a\":0}");
	fixture_text(directory, "merges.txt", "");
	if (dpo_model_init(model, fixture_path(path, directory, "start.json"), 42, &err) != DPO_OK)
		fail_msg("%s", err.text);
}

/* An empty directory of that name with the model's config.json; its path into path. */
static void
make_directory(char path[512], const char *name, const struct dpo_model *model)
{
	const struct dpo_named_file *config = dpo_files_find(&model->files, "config.json");

	assert_int_equal(mkdir(fixture_path(path, directory, name), 0700), 0);
	fixture_write(path, "config.json", config->bytes, config->n);
}

/*
 * Room for the items of a safetensors file: the model's tensors [from, to), then extras of the
 * test.
 */
static struct dpo_safetensors_item items[64];
static size_t n_items;

static void
take_items(const struct dpo_model *model, size_t from, size_t to)
{
	n_items = 0;
	for (size_t t = from; t < to; t++)
		items[n_items++] = (struct dpo_safetensors_item){ model->params.list[t].name,
			model->params.list[t].shape, model->params.list[t].rank,
			model->weights + model->params.list[t].offset };
}

static void
put_items(const char *at, const char *name)
{
	struct dpo_error err;
	struct dpo_out out;
	char path[512];

	assert_int_equal(dpo_out_open(&out, fixture_path(path, at, name), &err), DPO_OK);
	assert_int_equal(dpo_safetensors_write(&out, items, n_items, DPO_DTYPE_F32, &err), DPO_OK);
	assert_int_equal(dpo_out_commit(&out, &err), DPO_OK);
}

static void
put_stream(const struct dpo_model *model, const char *path)
{
	struct dpo_error err;
	struct dpo_out out;

	assert_int_equal(dpo_out_open(&out, path, &err), DPO_OK);
	assert_int_equal(dpo_model_write(model, NULL, NULL, &out, 1, &err), DPO_OK);
	assert_int_equal(dpo_out_commit(&out, &err), DPO_OK);
}

static void
open_good(struct dpo_model *model, const char *path, int threads)
{
	struct dpo_error err = { 0 };

	if (dpo_model_open(model, path, threads, &err) != DPO_OK)
		fail_msg("%s", err.text);
}

static void
open_bad(const char *path, enum dpo_status status, const char *words)
{
	struct dpo_model model;
	struct dpo_error err = { 0 };

	assert_int_equal(dpo_model_open(&model, path, 2, &err), status);
	if (!strstr(err.text, words) || strncmp(err.text, path, strlen(path)) != 0)
		fail_msg("\"%s\" lacks \"%s\" or its path", err.text, words);
	assert_null(model.weights);
}

/* The same id, configuration and weights, bit for bit. */
static void
check_same(const struct dpo_model *a, const struct dpo_model *b)
{
	assert_string_equal(a->id, b->id);
	assert_int_equal(a->params.total, b->params.total);
	assert_memory_equal(a->weights, b->weights, a->params.total * sizeof *a->weights);
}

/* ------------------------------------------------------------------ one id */

/* Two shards whose cut and order are not the table's. */
static void
put_shards(const struct dpo_model *model, const char *at)
{
	struct dpo_buffer text = { 0 };
	size_t cut = model->params.count / 2;

	take_items(model, cut, model->params.count);
	put_items(at, "model-00001-of-00002.safetensors");
	take_items(model, 0, cut);
	put_items(at, "model-00002-of-00002.safetensors");
	dpo_buffer_string(&text, "{\"metadata\":{},\"weight_map\":{");
	for (size_t t = 0; t < model->params.count; t++)
		dpo_buffer_printf(&text, "%s\"%s\":\"model-0000%d-of-00002.safetensors\"", t ? "," :
		    "",
		    model->params.list[t].name, t < cut ? 2 : 1);
	dpo_buffer_string(&text, "}}");
	fixture_text(at, "model.safetensors.index.json", dpo_buffer_text(&text));
	dpo_buffer_free(&text);
}

static void
check_one_id(const char *config)
{
	struct dpo_model model, other;
	struct dpo_error err;
	char path[512];

	make(&model, config);
	assert_int_equal(strlen(model.id), 64);
	assert_int_equal(strlen(model.tokenizer_id), 64);
	for (size_t i = 0; i < model.files.count; i++)
		assert_true(strcmp(model.files.list[i].name, "start.json") != 0);

	make_directory(path, "whole", &model);
	take_items(&model, 0, model.params.count);
	put_items(path, "model.safetensors");
	for (int threads = 1; threads <= 3; threads++) {
		open_good(&other, path, threads);
		check_same(&model, &other);
		assert_int_equal(cJSON_GetArraySize(other.stages), 0);
		dpo_model_free(&other);
	}
	make_directory(path, "shards", &model);
	put_shards(&model, path);
	open_good(&other, path, 2);
	check_same(&model, &other);
	dpo_model_free(&other);

	put_stream(&model, fixture_path(path, directory, "stream"));
	open_good(&other, path, 2);
	check_same(&model, &other);
	assert_string_equal(model.tokenizer_id, other.tokenizer_id);
	assert_int_equal(other.files.count, model.files.count);
	for (size_t i = 0; i < model.files.count; i++) {
		assert_string_equal(other.files.list[i].name, model.files.list[i].name);
		assert_int_equal(other.files.list[i].n, model.files.list[i].n);
		assert_memory_equal(other.files.list[i].bytes, model.files.list[i].bytes,
		    model.files.list[i].n);
	}
	/* The last bit of the last tensor is in the id. */
	other.weights[other.params.list[other.params.count - 1].offset] =
	    nextafterf(other.weights[other.params.list[other.params.count - 1].offset], 2);
	assert_int_equal(dpo_model_identify(&other, 2, &err), DPO_OK);
	assert_string_not_equal(model.id, other.id);
	dpo_model_free(&other);
	dpo_model_free(&model);
}

static void
directory_shards_and_stream_are_one_gpt2(void **unused)
{
	(void)unused;
	check_one_id(GPT2);
}

static void
directory_shards_and_stream_are_one_llama(void **unused)
{
	(void)unused;
	check_one_id(LLAMA);
}

static void
random_weights_follow_the_seed(void **unused)
{
	struct dpo_model model, other;
	struct dpo_error err;
	char path[512];

	(void)unused;
	make(&model, GPT2);
	fixture_path(path, directory, "start.json");
	assert_int_equal(dpo_model_init(&other, path, 42, &err), DPO_OK);
	check_same(&model, &other);
	dpo_model_free(&other);
	assert_int_equal(dpo_model_init(&other, path, 43, &err), DPO_OK);
	assert_string_not_equal(model.id, other.id);
	dpo_model_free(&other);
	for (size_t t = 0; t < model.params.count; t++) {
		const struct dpo_tensor *tensor = &model.params.list[t];

		for (size_t i = 0; i < tensor->count; i++) {
			float x = model.weights[tensor->offset + i];

			if (strstr(tensor->name, "bias"))
				assert_true(x == 0);
			else if (strstr(tensor->name, "ln_"))
				assert_true(x == 1);
			else
				assert_true(x != 0 && fabsf(x) < 0.2f);
		}
	}
	dpo_model_free(&model);
	fixture_text(directory, "start.json", "{\"model_type\":\"gpt2\",\"n_embd\":8}");
	assert_int_equal(dpo_model_init(&model, path, 1, &err), DPO_FORMAT);
	assert_non_null(strstr(err.text, "start.json: \"vocab_size\" is missing"));
}

/*
 * ------------------------------------------------------------------ the id by its definition, on
 * one thread
 */

struct text {
	uint8_t bytes[65536];
	size_t n;
};

static void
put_bytes(struct text *text, const void *bytes, size_t n)
{
	assert_true(text->n + n <= sizeof text->bytes);
	memcpy(text->bytes + text->n, bytes, n);
	text->n += n;
}

static void
put_u64(struct text *text, uint64_t value)
{
	for (int i = 0; i < 8; i++)
		put_bytes(text, &(uint8_t){ (uint8_t)(value >> 8 * i) }, 1);
}

static int
by_name(const void *a, const void *b)
{
	const struct dpo_tensor *const *x = a, *const *y = b;

	return strcmp((*x)->name, (*y)->name);
}

static void
hash_tensor(uint8_t hash[32], const struct dpo_model *model, const struct dpo_tensor *tensor)
{
	static struct text leaves;
	uint8_t leaf[32];

	leaves.n = 0;
	for (size_t at = 0; at < tensor->count; at += 1 << 20) {
		size_t n = tensor->count - at < 1 << 20 ? tensor->count - at : 1 << 20;

		dpo_hash(leaf, model->weights + tensor->offset + at, 4 * n);	/* the tests run on little-endian machines */
		put_bytes(&leaves, leaf, 32);
	}
	dpo_hash(hash, leaves.bytes, leaves.n);
}

static void
the_id_is_as_defined(void **unused)
{
	static const char config[] = "model_type=llama\nvocab_size=70001\nhidden_size=16\nlayers=1\nheads=4\nkv_heads=2\n"
	    "head_dim=4\nintermediate_size=12\nattention_bias=0\nmlp_bias=0\ntied_head=1\nnorm_epsilon=9.9999999999999995e-07\nrope_theta=10000\n";
	static struct text text;
	const struct dpo_tensor *sorted[16];
	struct dpo_model model;
	uint8_t hash[32];
	char hex[65];

	(void)unused;
	make(&model, LLAMA);
	assert_true(model.params.count <= 16);
	for (size_t t = 0; t < model.params.count; t++)
		sorted[t] = &model.params.list[t];
	qsort(sorted, model.params.count, sizeof *sorted, by_name);
	text.n = 0;
	put_bytes(&text, "dpo model 1\n", 12);
	for (size_t t = 0; t < model.params.count; t++) {
		put_bytes(&text, sorted[t]->name, strlen(sorted[t]->name) + 1);
		put_bytes(&text, "F32", 4);
		put_u64(&text, sorted[t]->rank);
		for (size_t d = 0; d < sorted[t]->rank; d++)
			put_u64(&text, sorted[t]->shape[d]);
		hash_tensor(hash, &model, sorted[t]);
		put_bytes(&text, hash, 32);
	}
	put_bytes(&text, config, strlen(config));
	dpo_hash(hash, text.bytes, text.n);
	dpo_bytes_hex(hex, hash, 32);
	assert_string_equal(model.id, hex);
	dpo_model_free(&model);
}

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
	make(&model, LLAMA);
	for (size_t i = 0; i < model.params.total; i++)
		model.weights[i] = coarse(model.weights[i]);
	assert_int_equal(dpo_model_identify(&model, 2, &err), DPO_OK);
	make_directory(path, "half", &model);
	put_halves(&model, path, false, false);
	open_good(&half, path, 2);
	make_directory(path, "brain", &model);
	put_halves(&model, path, true, true);
	open_good(&brain, path, 2);
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
	make(&model, LLAMA);
	make_directory(path, "shards", &model);
	put_shards(&model, path);
	open_frozen(&frozen, path);
	assert_string_equal(frozen.id, model.id);
	assert_int_equal(frozen.maps.count, 2);
	assert_int_equal(check_frozen(&frozen, &model), model.params.count);
	assert_int_equal(frozen.params.total, 0);
	dpo_model_free(&frozen);
	dpo_model_free(&model);
}

static void
halves_stay_in_their_file_where_they_lie_on_their_boundary(void **unused)
{
	struct dpo_model model, frozen;
	size_t matrices = 0;
	char path[512];

	(void)unused;
	make(&model, LLAMA);
	for (size_t i = 0; i < model.params.total; i++)
		model.weights[i] = coarse(model.weights[i]);
	for (size_t t = 0; t < model.params.count; t++)
		matrices += model.params.list[t].rank == 2;
	make_directory(path, "half", &model);
	put_halves(&model, path, false, false);
	open_frozen(&frozen, path);
	assert_int_equal(check_frozen(&frozen, &model), matrices);
	dpo_model_free(&frozen);
	make_directory(path, "brain", &model);
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
	make(&model, GPT2);
	make_directory(path, "old", &model);
	take_items(&model, 0, model.params.count);
	for (size_t t = 0; t < n_items; t++)
		items[t].name += strlen("transformer.");
	items[n_items++] = (struct dpo_safetensors_item){ "h.0.attn.bias", square, 4, buffer };
	items[n_items++] = (struct dpo_safetensors_item){ "h.0.attn.masked_bias", square, 0,
	    buffer };
	items[n_items++] = (struct dpo_safetensors_item){ "lm_head.weight", items[0].shape, 2,
	    items[0].data };
	put_items(path, "model.safetensors");
	open_good(&other, path, 1);
	check_same(&model, &other);
	dpo_model_free(&other);

	items[n_items - 1].data = model.weights + model.params.list[1].offset;	/* the positions: large enough */
	put_items(path, "model.safetensors");
	open_bad(path, DPO_FORMAT, "\"lm_head.weight\" differs from the embedding");
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
	make(&model, GPT2);
	make_directory(path, "wrong", &model);
	open_bad(path, DPO_FORMAT, "neither model.safetensors nor");

	take_items(&model, 0, model.params.count - 1);
	put_items(path, "model.safetensors");
	open_bad(path, DPO_FORMAT, "tensor \"transformer.ln_f.bias\" is missing");

	take_items(&model, 0, model.params.count);
	items[n_items++] = (struct dpo_safetensors_item){ "transformer.extra", turned, 1,
	    model.weights };
	put_items(path, "model.safetensors");
	open_bad(path, DPO_FORMAT, "tensor \"transformer.extra\" is superfluous");

	take_items(&model, 0, model.params.count);
	items[0].shape = turned;
	put_items(path, "model.safetensors");
	open_bad(path, DPO_FORMAT, "tensor \"transformer.wte.weight\" has 2 dimensions of 16, 8");

	take_items(&model, 0, model.params.count);
	nan = model.weights + model.params.list[7].offset;
	*nan = NAN;
	put_items(path, "model.safetensors");
	open_bad(path, DPO_NONFINITE, "tensor \"transformer.h.0.attn.c_proj.bias\" holds a NaN");
	*nan = 0;

	assert_int_equal(unlink(fixture_path(file, path, "config.json")), 0);
	open_bad(path, DPO_FORMAT, "config.json: there is no such file");
	fixture_text(path, "config.json", "{\"model_type\":\"gpt3\"}");
	open_bad(path, DPO_UNSUPPORTED, "wrong/config.json: model_type \"gpt3\"");
	open_bad(fixture_path(file, directory, "absent"), DPO_IO, "absent: No such file");
	dpo_model_free(&model);
}

static void
dtypes_of_used_tensors_are_checked(void **unused)
{
	char path[512], *bytes, *at;
	struct dpo_model model;
	size_t n;

	(void)unused;
	make(&model, GPT2);
	make_directory(path, "dtype", &model);
	take_items(&model, 0, model.params.count);
	put_items(path, "model.safetensors");
	bytes = fixture_read(path, "model.safetensors", &n);
	assert_non_null(at = strstr(bytes + 8, "\"F32\""));
	memcpy(at, "\"I32\"", 5);
	fixture_write(path, "model.safetensors", bytes, n);
	open_bad(path, DPO_UNSUPPORTED, "tensor \"transformer.wte.weight\": dtype I32");
	free(bytes);
	dpo_model_free(&model);
}

/* ------------------------------------------------------------------ streams that are wrong */

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
		open_good(&model, hand->path, 1);
		dpo_model_free(&model);
	} else {
		open_bad(hand->path, status, words);
	}
}

static void
files_of_a_stream_are_checked(void **unused)
{
	struct dpo_model model;
	struct hand hand;

	(void)unused;
	make(&model, GPT2);
	hand_open(&hand, "model");
	hand_file(&hand, "empty", "", 0);
	hand_file(&hand, "config.json", "{\"model_type\"", 0);
	hand_file(&hand, "config.json", &GPT2[13], 13);
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
	hand_file(&hand, "config.json", GPT2, 1);
	hand_gives(&hand, DPO_FORMAT, "offset 1 where 0");
	hand_open(&hand, "model");
	hand_file(&hand, "config.json", GPT2, 0);
	hand_file(&hand, "config.json", "", (int64_t)strlen(GPT2));
	hand_gives(&hand, DPO_FORMAT, "empty piece");
	hand_open(&hand, "model");
	hand_file(&hand, "config.json", GPT2, 0);
	hand_file(&hand, "x", "", 0);
	hand_file(&hand, "config.json", GPT2, 0);
	hand_file(&hand, "y", "", 0);
	hand_gives(&hand, DPO_FORMAT, "\"config.json\" is there twice");
	hand_open(&hand, "model");
	hand_file(&hand, "../escape", "x", 0);
	hand_file(&hand, "config.json", GPT2, 0);
	hand_gives(&hand, DPO_FORMAT, "\"../escape\" is not a file name");
	hand_open(&hand, "model");
	hand_file(&hand, "config.json", GPT2, 0);
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
	make(&model, GPT2);
	for (int i = 0; i < 8; i++) {
		hand_open(&hand, "model");
		hand_file(&hand, "config.json", GPT2, 0);
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
a_cut_stream_is_no_model(void **unused)
{
	struct dpo_model model;
	struct stat about;
	char path[512];

	(void)unused;
	make(&model, GPT2);
	put_stream(&model, fixture_path(path, directory, "stream"));
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

/* ------------------------------------------------------------------ export */

static void
an_export_is_whole_or_absent(void **unused)
{
	struct dpo_export export;
	struct dpo_model model, other;
	struct dpo_error err;
	char path[512], inside[512];

	(void)unused;
	make(&model, GPT2);
	fixture_path(path, directory, "out//");
	assert_int_equal(dpo_export_begin(&export, &model, (struct dpo_export_form){ 0 }, path, false, &err), DPO_OK);
	assert_int_equal(dpo_export_write(&export, &err), DPO_OK);
	assert_int_not_equal(access(path, F_OK), 0);
	assert_int_equal(access(export.temp, F_OK), 0);
	assert_int_equal(dpo_export_commit(&export, &err), DPO_OK);
	assert_int_not_equal(access(export.temp, F_OK), 0);
	dpo_export_free(&export);
	open_good(&other, path, 2);
	check_same(&model, &other);
	assert_string_equal(model.tokenizer_id, other.tokenizer_id);
	dpo_model_free(&other);

	assert_int_equal(dpo_export_begin(&export, &model, (struct dpo_export_form){ 0 }, path, false, &err), DPO_USAGE);
	dpo_export_free(&export);
	/* Swapped while the model is another one. */
	model.weights[0] += 1;
	assert_int_equal(dpo_export_begin(&export, &model, (struct dpo_export_form){ 0 }, path, true, &err), DPO_OK);
	assert_int_equal(dpo_export_write(&export, &err), DPO_OK);
	assert_int_equal(dpo_export_commit(&export, &err), DPO_OK);
	assert_int_not_equal(access(export.temp, F_OK), 0);
	dpo_export_free(&export);
	open_good(&other, path, 2);
	assert_true(other.weights[0] == model.weights[0]);
	dpo_model_free(&other);

	/* Given up half-way: nothing new, and what was there stays. */
	assert_int_equal(dpo_export_begin(&export, &model, (struct dpo_export_form){ 0 }, path, true, &err), DPO_OK);
	assert_int_equal(dpo_export_write(&export, &err), DPO_OK);
	dpo_export_remove(&export);
	assert_int_not_equal(access(export.temp, F_OK), 0);
	dpo_export_free(&export);
	assert_int_equal(access(fixture_path(inside, path, "model.safetensors"), F_OK), 0);

	fixture_text(path, "thesis.tex", "dear");
	assert_int_equal(dpo_export_begin(&export, &model, (struct dpo_export_form){ 0 }, path, true, &err), DPO_USAGE);
	assert_non_null(strstr(err.text, "thesis.tex"));
	dpo_export_free(&export);
	dpo_model_free(&model);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(directory_shards_and_stream_are_one_gpt2, fixture_set_up,
		    fixture_tear_down),
		cmocka_unit_test_setup_teardown(directory_shards_and_stream_are_one_llama, fixture_set_up,
		    fixture_tear_down),
		cmocka_unit_test_setup_teardown(random_weights_follow_the_seed, fixture_set_up, fixture_tear_down),
		cmocka_unit_test_setup_teardown(the_id_is_as_defined, fixture_set_up, fixture_tear_down),
		cmocka_unit_test_setup_teardown(sixteen_bit_models_are_read_exactly, fixture_set_up,
		    fixture_tear_down),
		cmocka_unit_test_setup_teardown(floats_stay_in_their_file, fixture_set_up, fixture_tear_down),
		cmocka_unit_test_setup_teardown(halves_stay_in_their_file_where_they_lie_on_their_boundary, fixture_set_up,
		    fixture_tear_down),
		cmocka_unit_test_setup_teardown(older_files_are_read, fixture_set_up, fixture_tear_down),
		cmocka_unit_test_setup_teardown(wrong_tensors_are_refused, fixture_set_up, fixture_tear_down),
		cmocka_unit_test_setup_teardown(dtypes_of_used_tensors_are_checked, fixture_set_up,
		    fixture_tear_down),
		cmocka_unit_test_setup_teardown(files_of_a_stream_are_checked, fixture_set_up, fixture_tear_down),
		cmocka_unit_test_setup_teardown(tensors_of_a_stream_are_checked, fixture_set_up, fixture_tear_down),
		cmocka_unit_test_setup_teardown(a_cut_stream_is_no_model, fixture_set_up, fixture_tear_down),
		cmocka_unit_test_setup_teardown(an_export_is_whole_or_absent, fixture_set_up, fixture_tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
