#include "decoder/decoder.h"

#include "base/arena.h"
#include "base/error.h"
#include "base/parallel.h"
#include "decoder/layer.h"
#include "decoder/norm.h"
#include "decoder/packs.h"
#include "decoder/places.h"
#include "decoder/rope.h"
#include "decoder/skinny.h"
#include "kernel/gemm.h"
#include "kernel/vector.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct dpo_decoder {
	const struct dpo_config *config;
	struct dpo_places places;
	struct dpo_packs packs;		/* in bf16 only */
	bool train;
	bool recompute;			/* of what layers save only x is their own */
	struct dpo_layers layers;	/* its memory is in the arena */
	struct dpo_arena arena;
	float *rope;			/* owned; table of rope_positions positions, for rope_choice */
	size_t rope_positions, rope_choice;
	struct dpo_saved *saved;	/* owned; [layers], all the same unless training */
	float *last;			/* [hidden], the last layer's output */
	float *h, *h_stats;		/* head rows only */
	size_t scratch;			/* floats that the products of a packed pass take */
	size_t longest;			/* width of any map, in or out */
	struct dpo_sequence rows;	/* of a step of generation */
};

/* The longest row of the layers' maps, and what their products take. */
static void
measure(struct dpo_decoder *d)
{
	for (size_t i = 0; i < d->config->layers; i++) {
		struct dpo_place *maps[DPO_PLACES_MAPS];

		dpo_places_maps(&d->places.layers[i], maps);
		for (size_t k = 0; k < DPO_PLACES_MAPS; k++) {
			struct dpo_linear map = { .in = maps[k]->in, .out = maps[k]->out, .bf16 = d->layers.bf16 };
			size_t longer = map.in > map.out ? map.in : map.out, floats;

			if (!maps[k]->weight)
				continue;
			map.dtype = maps[k]->weight->dtype;
			floats = dpo_linear_scratch(d->layers.threads, &map, d->train);
			d->scratch = floats > d->scratch ? floats : d->scratch;
			d->longest = longer > d->longest ? longer : d->longest;
		}
	}
}

enum dpo_status
dpo_decoder_new(struct dpo_decoder **decoder, const struct dpo_config *config,
    const struct dpo_params *params, const struct dpo_passes *passes, struct dpo_error *err)
{
	struct dpo_decoder *d = dpo_alloc(1, sizeof *d);
	enum dpo_status status;

	*decoder = NULL;
	if (!d)
		return dpo_fail_memory(err);
	d->config = config;
	d->train = passes->train;
	d->recompute = passes->recompute;
	d->saved = dpo_alloc(config->layers, sizeof *d->saved);
	status = d->saved ? dpo_places_init(&d->places, config, params, err) : dpo_fail_memory(err);
	if (status != DPO_OK) {
		dpo_decoder_free(d);
		return status;
	}
	d->places.lora = passes->lora;
	d->layers = dpo_layers_of(config, &d->places, dpo_gemm_threads(passes->threads));
	d->layers.bf16 = passes->bf16;
	measure(d);
	*decoder = d;
	return DPO_OK;
}

void
dpo_decoder_free(struct dpo_decoder *decoder)
{
	if (!decoder)
		return;
	dpo_places_free(&decoder->places);
	dpo_packs_free(&decoder->packs);
	dpo_arena_free(&decoder->arena);
	dpo_sequence_free(&decoder->rows);
	free(decoder->rope);
	free(decoder->saved);
	free(decoder);
}

void
dpo_decoder_dropout(struct dpo_decoder *decoder, const struct dpo_dropout_key *key)
{
	decoder->layers.dropping = key != NULL && decoder->places.lora && decoder->places.lora->config.dropout > 0;
	decoder->layers.dropout = key ? *key : (struct dpo_dropout_key){ 0 };
}

void
dpo_decoder_changed(struct dpo_decoder *decoder)
{
	dpo_packs_stale(&decoder->packs, &decoder->places);
}

struct dpo_linear
dpo_decoder_head(const struct dpo_decoder *decoder, const float *weights, float *gradients)
{
	struct dpo_place head = { .weight = decoder->places.head, .in = decoder->layers.hidden,
	    .out = decoder->config->vocab_size, .pack = decoder->places.head_pack };
	struct dpo_linear linear = dpo_places_linear(&decoder->places, &head, weights, gradients);

	linear.layout = DPO_LAYOUT_OUT_IN;
	linear.bf16 = decoder->layers.bf16;
	return linear;
}

/*
 * What adapters keep for the backward pass: u of each map, and the masks of their dropout, for each layer or one layer's
 * for all. An inference-only decoder has one of each for all.
 */
static void
carve_adapter(struct dpo_decoder *d, size_t rows)
{
	struct dpo_place *maps[DPO_PLACES_MAPS], *first[DPO_PLACES_MAPS];
	size_t rank = d->places.lora->rank_max;
	float *u = d->train ? NULL : dpo_arena_take(&d->arena, rows, rank);
	bool shared = !d->train || d->recompute;

	dpo_places_maps(&d->places.layers[0], first);
	for (size_t layer = 0; layer < d->config->layers; layer++) {
		dpo_places_maps(&d->places.layers[layer], maps);
		for (size_t i = 0; i < DPO_PLACES_MAPS; i++) {
			bool adapted = maps[i]->weight && dpo_lora_part(d->places.lora, maps[i]->weight).a;

			maps[i]->u = d->train && adapted ? dpo_arena_take(&d->arena, rows, rank) : u;
			if (!d->layers.dropping)
				continue;
			if (shared && layer > 0)
				maps[i]->mask = first[i]->mask;
			else if (maps[i]->weight && (shared || adapted))
				maps[i]->mask = (void *)dpo_arena_take(&d->arena, rows, dpo_dropout_words(maps[i]->in) / 2);
		}
	}
	if (d->layers.step)
		d->layers.lowrank = dpo_arena_take(&d->arena, rows, d->longest);
	else
		d->layers.lowrank = dpo_arena_take(&d->arena, dpo_lowrank_scratch(rows, d->longest, rank), 1);
	if (d->train)
		d->layers.lowrank_v = dpo_arena_take(&d->arena, rows, rank);
}

/* What the products of a pass of that many rows take. */
static size_t
scratch(const struct dpo_decoder *d, size_t rows)
{
	if (d->layers.step)
		return d->config->family->layout == DPO_LAYOUT_IN_OUT ? dpo_skinny_scratch(rows, d->longest) : 0;
	return d->scratch;
}

static void
carve(struct dpo_decoder *d, const struct dpo_sequence *s)
{
	size_t rows = s->rows, hidden = d->layers.hidden;

	dpo_arena_begin(&d->arena);
	for (size_t layer = 0; layer < d->config->layers; layer++)
		if (layer == 0 || (d->train && !d->recompute)) {
			dpo_saved_carve(&d->saved[layer], &d->layers, rows, &d->arena);
		} else {
			d->saved[layer] = d->saved[0];
			if (d->train)
				d->saved[layer].x = dpo_arena_take(&d->arena, rows, hidden);
		}
	d->last = d->train ? dpo_arena_take(&d->arena, rows, hidden) : d->saved[0].x;
	d->h = dpo_arena_take(&d->arena, s->head_rows, hidden);
	d->h_stats = dpo_arena_take(&d->arena, s->head_rows, 2);
	d->layers.scratch = dpo_arena_take(&d->arena, scratch(d, rows), 1);
	if (d->places.lora)
		carve_adapter(d, rows);
	dpo_layers_carve(&d->layers, rows, d->train, &d->arena);
}

size_t
dpo_decoder_room(struct dpo_decoder *decoder, const struct dpo_sequence *sequence)
{
	carve(decoder, sequence);
	return decoder->arena.overflow ? SIZE_MAX : decoder->arena.used;
}

size_t
dpo_decoder_packs(struct dpo_decoder *decoder)
{
	size_t numbers;

	assert(!decoder->packs.list);
	numbers = decoder->layers.bf16 ? dpo_packs_room(&decoder->places, decoder->train) : 0;

	return numbers > SIZE_MAX / sizeof(uint16_t) ? SIZE_MAX : numbers * sizeof(uint16_t);
}

bool
dpo_decoder_reserve(struct dpo_decoder *decoder, size_t floats)
{
	return dpo_arena_reserve(&decoder->arena, floats);
}

/* Tokens of the prompt with the longest answer. */
static size_t
length_of(const struct dpo_sequence *s)
{
	size_t longest = 0;

	for (size_t a = 0; a < s->n_answers; a++)
		longest = s->n_answer[a] > longest ? s->n_answer[a] : longest;
	return s->n_prompt + longest;
}

/* The table of rotations of the sequence's length, with at least the positions it needs. */
static bool
prepare_rope(struct dpo_decoder *d, const struct dpo_sequence *s)
{
	const struct dpo_rope *rope = &d->config->rope;
	size_t need = 0, n, choice = dpo_rope_choice(rope, length_of(s));
	float *table;

	if (d->config->family->position != DPO_POSITION_ROPE)
		return true;
	for (size_t i = 0; i < s->rows; i++)
		need = (size_t)s->positions[i] >= need ? (size_t)s->positions[i] + 1 : need;
	if (need <= d->rope_positions && choice == d->rope_choice)
		return true;
	if (need > d->rope_positions && need < 2 * d->rope_positions)
		need = 2 * d->rope_positions;
	need = need < d->rope_positions ? d->rope_positions : need;
	if (!dpo_size_mul(need, rope->dim, &n) || !(table = dpo_alloc_aligned(n, sizeof *table)))
		return false;
	dpo_rope_table(table, need, rope, length_of(s));
	free(d->rope);
	d->layers.rope = d->rope = table;
	d->rope_positions = need;
	d->rope_choice = choice;
	return true;
}

static bool
prepare(struct dpo_decoder *d, const struct dpo_sequence *s)
{
	enum dpo_arena_result result;

	if (d->layers.bf16 && !d->packs.list && !dpo_packs_init(&d->packs, &d->places, d->train))
		return false;
	do {
		carve(d, s);
		result = dpo_arena_end(&d->arena);
	} while (result == DPO_ARENA_AGAIN);
	return result == DPO_ARENA_READY && prepare_rope(d, s);
}

/* ------------------------------------------------------------------ embeddings */

/* Columns of an item of the embedding's gradient: each item walks all rows, in order. */
enum { EMBED_COLUMNS = 64 };

struct embedding {
	const struct dpo_decoder *decoder;
	const struct dpo_sequence *sequence;
	struct dpo_home tokens, positions;	/* positions: nowhere if the model has none */
};

static float
embedding_scale(const struct dpo_decoder *d)
{
	return d->config->family->scaled_embedding ? sqrtf((float)d->layers.hidden) : 1.0f;
}

/* out[n] = elements of a table from `first` on. */
static void
take(float *out, struct dpo_home table, size_t first, size_t n)
{
	const uint8_t *data = (const uint8_t *)table.data;

	dpo_vector_widen(out, data + first * dpo_dtype_size(table.dtype), table.dtype, n);
}

static void
embed_row(void *context, size_t row)
{
	const struct embedding *e = context;
	const struct dpo_decoder *d = e->decoder;
	size_t hidden = d->layers.hidden;
	float *x = d->saved[0].x + row * hidden, position[EMBED_COLUMNS];

	take(x, e->tokens, (size_t)e->sequence->tokens[row] * hidden, hidden);
	if (d->config->family->scaled_embedding)
		dpo_vector_scale(x, embedding_scale(d), hidden);
	for (size_t i = 0, n; e->positions.data && i < hidden; i += n) {
		n = hidden - i < EMBED_COLUMNS ? hidden - i : EMBED_COLUMNS;
		take(position, e->positions, (size_t)e->sequence->positions[row] * hidden + i, n);
		dpo_vector_add(x + i, position, n);
	}
}

static void
embed_backward(void *context, size_t item)
{
	const struct embedding *e = context;
	const struct dpo_decoder *d = e->decoder;
	size_t first = item * EMBED_COLUMNS, hidden = d->layers.hidden;
	size_t n = hidden - first < EMBED_COLUMNS ? hidden - first : EMBED_COLUMNS;

	for (size_t row = 0; row < e->sequence->rows; row++) {
		const float *dx = d->layers.dx + row * hidden + first;

		if (e->tokens.gradients && e->sequence->tokens[row] != d->config->pad_token)
			dpo_vector_axpy(e->tokens.gradients +
			    (size_t)e->sequence->tokens[row] * hidden + first, embedding_scale(d), dx, n);
		if (e->positions.gradients)
			dpo_vector_add(e->positions.gradients +
			    (size_t)e->sequence->positions[row] * hidden + first, dx, n);
	}
}

static struct embedding
embedding_of(const struct dpo_decoder *d, const struct dpo_sequence *s, const float *weights, float *gradients)
{
	return (struct embedding){ d, s, dpo_places_home(&d->places, d->places.tokens, weights, gradients),
	    dpo_places_home(&d->places, d->places.positions, weights, gradients) };
}

static int
useful_threads(const struct dpo_decoder *d, size_t rows)
{
	return rows * d->layers.hidden < 32768 ? 1 : d->layers.threads;
}

static enum dpo_status
forward(struct dpo_decoder *d, const float *weights, const struct dpo_sequence *sequence, const float **h,
    struct dpo_error *err)
{
	struct embedding embedding = embedding_of(d, sequence, weights, NULL);
	struct dpo_norm norm = dpo_places_norm(&d->places, &d->places.norm, weights, NULL);
	size_t layers = d->config->layers;

	if (!prepare(d, sequence))
		return dpo_fail_memory(err);
	*h = d->h;
	if (sequence->rows == 0)
		return DPO_OK;
	dpo_parallel_for(useful_threads(d, sequence->rows), sequence->rows, embed_row, &embedding);
	for (size_t layer = 0; layer < layers; layer++) {
		float *out = layer + 1 < layers ? d->saved[layer + 1].x : d->last;

		dpo_layer_forward(&d->layers, layer, &d->saved[layer], sequence, weights, out);
	}
	dpo_norm_forward(d->layers.threads, &norm, sequence->head_rows,
	    d->last + sequence->head_first * d->layers.hidden, d->h, d->h_stats);
	return DPO_OK;
}

enum dpo_status
dpo_decoder_forward(struct dpo_decoder *decoder, const float *weights,
    const struct dpo_sequence *sequence, const float **h, struct dpo_error *err)
{
	decoder->layers.caches = NULL;
	decoder->layers.step = false;
	return forward(decoder, weights, sequence, h, err);
}

enum dpo_status
dpo_decoder_prefill(struct dpo_decoder *decoder, const float *weights, const struct dpo_sequence *sequence,
    struct dpo_cache *cache, size_t positions, const float **h, struct dpo_error *err)
{
	struct dpo_decoder *d = decoder;
	enum dpo_status status = dpo_cache_reserve(cache, d->config->layers, d->layers.kv, positions, err);

	assert(!d->train && sequence->rows <= positions && sequence->n_segments <= 1);
	if (status != DPO_OK)
		return status;
	d->layers.caches = &cache;
	d->layers.step = false;
	status = forward(d, weights, sequence, h, err);
	d->layers.caches = NULL;
	if (status == DPO_OK)
		cache->length = sequence->rows;
	return status;
}

static bool
lay_out_step(struct dpo_sequence *s, const int32_t *tokens, struct dpo_cache *const *caches, size_t n)
{
	void *own = s->tokens, *positions = s->positions;
	bool fits = dpo_size_grow(&own, &s->tokens_capacity, n, sizeof *s->tokens) &
	    dpo_size_grow(&positions, &s->positions_capacity, n, sizeof *s->positions);

	s->tokens = own;
	s->positions = positions;
	s->rows = s->head_rows = n;
	for (size_t i = 0; fits && i < n; i++) {
		assert(caches[i]->length < caches[i]->capacity);
		s->tokens[i] = tokens[i];
		s->positions[i] = (int32_t)caches[i]->length;
	}
	return fits;
}

enum dpo_status
dpo_decoder_step(struct dpo_decoder *decoder, const float *weights, const int32_t *tokens,
    struct dpo_cache *const *caches, size_t n, const float **h, struct dpo_error *err)
{
	struct dpo_decoder *d = decoder;
	enum dpo_status status;

	assert(!d->train);
	for (size_t i = 0; i < n; i++)
		if (caches[i]->length + 1 > dpo_rope_steady(&d->config->rope))
			return dpo_fail(err, DPO_UNSUPPORTED, "generation past %zu positions, where this model's "
			    "rotary frequencies change with the length", d->config->rope.original);
	if (!lay_out_step(&d->rows, tokens, caches, n))
		return dpo_fail_memory(err);
	d->layers.caches = caches;
	d->layers.step = true;
	status = forward(d, weights, &d->rows, h, err);
	d->layers.caches = NULL;
	d->layers.step = false;
	for (size_t i = 0; i < n && status == DPO_OK; i++)
		caches[i]->length++;
	return status;
}

/* ------------------------------------------------------------------ backward */

void
dpo_decoder_backward(struct dpo_decoder *decoder, const float *weights,
    const struct dpo_sequence *sequence, const float *dh, float *gradients)
{
	struct dpo_decoder *d = decoder;
	struct embedding embedding = embedding_of(d, sequence, weights, gradients);
	struct dpo_norm norm = dpo_places_norm(&d->places, &d->places.norm, weights, gradients);
	size_t first = sequence->head_first * d->layers.hidden;

	if (sequence->rows == 0)
		return;
	memset(d->layers.dx, 0, sequence->rows * d->layers.hidden * sizeof *d->layers.dx);
	dpo_norm_backward(d->layers.threads, &norm, sequence->head_rows, d->last + first, d->h_stats, dh,
	    d->layers.dx + first, d->layers.partial);
	for (size_t layer = d->config->layers; layer-- > 0 && dpo_places_trained(&d->places, layer);) {
		if (d->recompute && layer + 1 < d->config->layers)	/* the last one's is still there */
			dpo_layer_again(&d->layers, layer, &d->saved[layer], sequence, weights);
		dpo_layer_backward(&d->layers, layer, &d->saved[layer], sequence, weights, gradients);
	}
	if (!embedding.tokens.gradients && !embedding.positions.gradients)
		return;
	dpo_parallel_for(useful_threads(d, sequence->rows),
	    (d->layers.hidden + EMBED_COLUMNS - 1) / EMBED_COLUMNS, embed_backward, &embedding);
}
