#include "decoder.h"

#include "activation.h"
#include "arena.h"
#include "attention.h"
#include "gemm.h"
#include "parallel.h"
#include "places.h"
#include "rope.h"
#include "skinny.h"
#include "vector.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* What the forward pass leaves of a layer. Rows are those of the sequence. */
struct kept {
	float *x;		/* [hidden], the layer's input */
	float *qkv;		/* [qkv], after rope */
	float *attended;	/* [query], attention's output */
	float *log_sums;	/* [heads][rows] */
	float *middle;		/* [hidden], after attention */
	float *up;		/* [up], before the activation */
};

struct dpo_decoder {
	const struct dpo_config *config;
	struct dpo_places places;
	bool train;
	int threads;
	size_t hidden, query, kv, qkv, inner, up;	/* widths of rows */
	struct dpo_arena arena;
	float *rope;			/* owned; table of rope_positions positions */
	size_t rope_positions;
	struct kept *kept;		/* owned; [layers], all the same unless training */
	float *last;			/* [hidden], the last layer's output */
	float *normed, *stats;		/* [hidden], [2] */
	float *activated;		/* [inner] */
	float *h, *h_stats;		/* head rows only */
	size_t scratch_floats;		/* 0 if all matrices are float */
	float *scratch;			/* for tiles of those that are not */
	/* generation only: of the pass at hand */
	struct dpo_cache *const *caches;	/* of each row, if `step`, or the one of all; NULL: none */
	bool step;
	struct dpo_sequence rows;	/* of a step */
	/* backward only */
	float *dx, *d_normed, *d_attended, *d_qkv, *d_up, *d_activated, *partial;
};

static struct dpo_rows
rows_of(float *data, size_t ld)
{
	return (struct dpo_rows){ data, ld };
}

/* Room for tiles of the layers' matrices. */
static size_t
scratch_floats(const struct dpo_decoder *d)
{
	size_t longest = d->hidden > d->qkv ? d->hidden : d->qkv;
	const struct dpo_layer_places *layer;

	longest = longest > d->inner ? longest : d->inner;
	for (size_t i = 0; i < d->config->layers; i++) {
		layer = &d->places.layers[i];
		const struct dpo_place *maps[] = { &layer->qkv[0], &layer->qkv[1], &layer->qkv[2], &layer->o, &layer->up[0],
			&layer->up[1], &layer->down };

		for (size_t k = 0; k < sizeof maps / sizeof *maps; k++)
			if (maps[k]->weight && maps[k]->weight->dtype != DPO_DTYPE_F32)
				return dpo_gemm_scratch(d->threads, longest, longest);
	}
	return 0;
}

enum dpo_status
dpo_decoder_new(struct dpo_decoder **decoder, const struct dpo_config *config,
    const struct dpo_params *params, bool train, int threads, struct dpo_error *err)
{
	struct dpo_decoder *d = dpo_alloc(1, sizeof *d);
	enum dpo_status status;

	*decoder = NULL;
	if (!d)
		return dpo_fail_memory(err);
	d->config = config;
	d->train = train;
	d->threads = dpo_gemm_threads(threads);
	d->hidden = config->hidden_size;
	d->query = config->heads * config->head_dim;
	d->kv = config->kv_heads * config->head_dim;
	d->qkv = d->query + 2 * d->kv;
	d->inner = config->intermediate_size;
	d->up = config->family->mlp == DPO_MLP_GATED ? 2 * d->inner : d->inner;
	d->kept = dpo_alloc(config->layers, sizeof *d->kept);
	status = d->kept ? dpo_places_init(&d->places, config, params, err) : dpo_fail_memory(err);
	if (status != DPO_OK) {
		dpo_decoder_free(d);
		return status;
	}
	d->scratch_floats = scratch_floats(d);
	*decoder = d;
	return DPO_OK;
}

void
dpo_decoder_free(struct dpo_decoder *decoder)
{
	if (!decoder)
		return;
	dpo_places_free(&decoder->places);
	dpo_arena_free(&decoder->arena);
	dpo_sequence_free(&decoder->rows);
	free(decoder->rope);
	free(decoder->kept);
	free(decoder);
}

struct dpo_linear
dpo_decoder_head(const struct dpo_decoder *decoder, const float *weights, float *gradients)
{
	struct dpo_place head = { .weight = decoder->places.head, .in = decoder->hidden,
	    .out = decoder->config->vocab_size };
	struct dpo_linear linear = dpo_places_linear(&decoder->places, &head, weights, gradients);

	linear.layout = DPO_LAYOUT_OUT_IN;
	return linear;
}

static void
carve_backward(struct dpo_decoder *d, size_t rows)
{
	d->dx = dpo_arena_take(&d->arena, rows, d->hidden);
	d->d_normed = dpo_arena_take(&d->arena, rows, d->hidden);
	d->d_attended = dpo_arena_take(&d->arena, rows, d->query);
	d->d_qkv = dpo_arena_take(&d->arena, rows, d->qkv);
	d->d_up = dpo_arena_take(&d->arena, rows, d->up);
	d->d_activated = d->up == d->inner ? d->d_up : dpo_arena_take(&d->arena, rows, d->inner);
	d->partial = dpo_arena_take(&d->arena, dpo_norm_partial(rows, d->hidden), 1);
}

static void
carve(struct dpo_decoder *d, const struct dpo_sequence *s)
{
	size_t rows = s->rows;

	dpo_arena_begin(&d->arena);
	for (size_t layer = 0; layer < d->config->layers; layer++) {
		struct kept *k = &d->kept[layer];

		if (layer > 0 && !d->train) {
			*k = d->kept[0];
			continue;
		}
		k->x = dpo_arena_take(&d->arena, rows, d->hidden);
		k->qkv = dpo_arena_take(&d->arena, rows, d->qkv);
		k->attended = dpo_arena_take(&d->arena, rows, d->query);
		k->log_sums = dpo_arena_take(&d->arena, d->config->heads, rows);
		k->middle = dpo_arena_take(&d->arena, rows, d->hidden);
		k->up = dpo_arena_take(&d->arena, rows, d->up);
	}
	d->last = d->train ? dpo_arena_take(&d->arena, rows, d->hidden) : d->kept[0].x;
	d->normed = dpo_arena_take(&d->arena, rows, d->hidden);
	d->stats = dpo_arena_take(&d->arena, rows, 2);
	d->activated = dpo_arena_take(&d->arena, rows, d->inner);
	d->h = dpo_arena_take(&d->arena, s->head_rows, d->hidden);
	d->h_stats = dpo_arena_take(&d->arena, s->head_rows, 2);
	if (d->scratch_floats)
		d->scratch = dpo_arena_take(&d->arena, d->scratch_floats, 1);
	if (d->train)
		carve_backward(d, rows);
}

/* The table of rotations, at least as long as the sequence needs. */
static bool
prepare_rope(struct dpo_decoder *d, const struct dpo_sequence *s)
{
	size_t need = 0, n;
	float *table;

	if (d->config->family->position != DPO_POSITION_ROPE)
		return true;
	for (size_t i = 0; i < s->rows; i++)
		need = (size_t)s->positions[i] >= need ? (size_t)s->positions[i] + 1 : need;
	if (need <= d->rope_positions)
		return true;
	need = need < 2 * d->rope_positions ? 2 * d->rope_positions : need;
	if (!dpo_size_mul(need, d->config->head_dim, &n) ||
	    !(table = dpo_alloc_aligned(n, sizeof *table)))
		return false;
	dpo_rope_table(table, need, d->config->head_dim, d->config->rope_theta);
	free(d->rope);
	d->rope = table;
	d->rope_positions = need;
	return true;
}

static bool
prepare(struct dpo_decoder *d, const struct dpo_sequence *s)
{
	enum dpo_arena_result result;

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
	const float *weights;
	float *gradients;
};

/* out[n] = elements of a tensor from `first` on. */
static void
take(float *out, const float *weights, const struct dpo_tensor *tensor, size_t first, size_t n)
{
	const uint8_t *data = (const uint8_t *)(weights + tensor->offset);

	dpo_vector_widen(out, data + first * dpo_dtype_size(tensor->dtype), tensor->dtype, n);
}

static void
embed_row(void *context, size_t row)
{
	const struct embedding *e = context;
	const struct dpo_decoder *d = e->decoder;
	float *x = d->kept[0].x + row * d->hidden, position[EMBED_COLUMNS];

	take(x, e->weights, d->places.tokens, (size_t)e->sequence->tokens[row] * d->hidden, d->hidden);
	for (size_t i = 0, n; d->places.positions && i < d->hidden; i += n) {
		n = d->hidden - i < EMBED_COLUMNS ? d->hidden - i : EMBED_COLUMNS;
		take(position, e->weights, d->places.positions, (size_t)e->sequence->positions[row] * d->hidden + i, n);
		dpo_vector_add(x + i, position, n);
	}
}

static void
embed_backward(void *context, size_t item)
{
	const struct embedding *e = context;
	const struct dpo_decoder *d = e->decoder;
	size_t first = item * EMBED_COLUMNS;
	size_t n = d->hidden - first < EMBED_COLUMNS ? d->hidden - first : EMBED_COLUMNS;

	for (size_t row = 0; row < e->sequence->rows; row++) {
		const float *dx = d->dx + row * d->hidden + first;

		dpo_vector_add(e->gradients + d->places.tokens->offset +
		    (size_t)e->sequence->tokens[row] * d->hidden + first, dx, n);
		if (d->places.positions)
			dpo_vector_add(e->gradients + d->places.positions->offset +
			    (size_t)e->sequence->positions[row] * d->hidden + first, dx, n);
	}
}

static int
useful_threads(const struct dpo_decoder *d, size_t rows)
{
	return rows * d->hidden < 32768 ? 1 : d->threads;
}

/* ------------------------------------------------------------------ forward */

static struct dpo_linear
linear_at(const struct dpo_decoder *d, const struct dpo_place *place, const float *weights, float *gradients)
{
	struct dpo_linear map = dpo_places_linear(&d->places, place, weights, gradients);

	map.scratch = d->scratch;
	return map;
}

/*
 * The first row that layer's outputs are wanted of. Of the last layer that is the first which predicts: the rows before it
 * serve as keys and values alone.
 */
static size_t
first_wanted(const struct dpo_decoder *d, size_t layer, const struct dpo_sequence *s)
{
	return layer + 1 < d->config->layers ? 0 : s->head_first;
}

static struct dpo_attention
attention_of(const struct dpo_decoder *d, size_t layer, const struct dpo_sequence *s)
{
	return (struct dpo_attention){ .sequence = s, .heads = d->config->heads, .kv_heads = d->config->kv_heads,
	    .head_dim = d->config->head_dim, .first = first_wanted(d, layer, s) };
}

/* The products of a step are skinny ones. */
static void
multiply(const struct dpo_decoder *d, const struct dpo_linear *map, size_t rows, struct dpo_rows x,
    struct dpo_rows residual, struct dpo_rows y)
{
	if (d->step)
		dpo_skinny_forward(dpo_skinny_best(), d->threads, map, rows, x, residual, y);
	else
		dpo_linear_forward(d->threads, map, rows, x, residual, y);
}

/* Keys and values of the rows go to their caches. */
static void
remember(const struct dpo_decoder *d, size_t layer, size_t rows)
{
	for (size_t row = 0; row < rows; row++) {
		const struct dpo_cache *cache = d->caches[d->step ? row : 0];

		memcpy(dpo_cache_row(cache, layer, d->step ? cache->length : row),
		    d->kept[layer].qkv + row * d->qkv + d->query, 2 * d->kv * sizeof(float));
	}
}

static void
attend(const struct dpo_decoder *d, size_t layer, const struct dpo_sequence *s)
{
	const struct kept *k = &d->kept[layer];
	struct dpo_attention attention = attention_of(d, layer, s);

	if (d->caches)
		remember(d, layer, s->rows);
	if (d->step)
		dpo_attention_step(d->threads, &attention, layer, s->rows, k->qkv, d->caches, k->attended);
	else
		dpo_attention_forward(d->threads, &attention, k->qkv, k->attended, k->log_sums);
}

static void
forward_qkv(const struct dpo_decoder *d, const struct dpo_layer_places *at,
    const struct dpo_sequence *s, const float *weights, const struct kept *k)
{
	size_t column = 0;

	for (size_t i = 0; i < d->places.n_qkv; i++) {
		struct dpo_linear map = linear_at(d, &at->qkv[i], weights, NULL);

		multiply(d, &map, s->rows, rows_of(d->normed, d->hidden),
		    (struct dpo_rows){ 0 }, rows_of(k->qkv + column, d->qkv));
		column += map.out;
	}
	if (d->rope)
		dpo_rope_apply(d->threads, d->rope, s->positions, s->rows, k->qkv, d->qkv,
		    d->config->heads + d->config->kv_heads, d->config->head_dim, 1.0f);
}

static void
forward_up(const struct dpo_decoder *d, const struct dpo_layer_places *at, size_t rows,
    const float *weights, float *up)
{
	for (size_t i = 0; i < d->places.n_up; i++) {
		struct dpo_linear map = linear_at(d, &at->up[i], weights, NULL);

		multiply(d, &map, rows, rows_of(d->normed, d->hidden),
		    (struct dpo_rows){ 0 }, rows_of(up + i * d->inner, d->up));
	}
}

static void
forward_layer(const struct dpo_decoder *d, size_t layer, const struct dpo_sequence *s,
    const float *weights, float *out)
{
	const struct dpo_layer_places *at = &d->places.layers[layer];
	const struct kept *k = &d->kept[layer];
	struct dpo_norm norm1 = dpo_places_norm(&d->places, &at->norm1, weights, NULL);
	struct dpo_norm norm2 = dpo_places_norm(&d->places, &at->norm2, weights, NULL);
	struct dpo_linear o = linear_at(d, &at->o, weights, NULL);
	struct dpo_linear down = linear_at(d, &at->down, weights, NULL);

	size_t first = first_wanted(d, layer, s), rows = s->rows - first, at_first = first * d->hidden;
	float *middle = k->middle + at_first, *up = k->up + first * d->up;

	dpo_norm_forward(d->threads, &norm1, s->rows, k->x, d->normed, d->stats);
	forward_qkv(d, at, s, weights, k);
	attend(d, layer, s);
	multiply(d, &o, rows, rows_of(k->attended + first * d->query, d->query), rows_of(k->x + at_first, d->hidden),
	    rows_of(middle, d->hidden));
	dpo_norm_forward(d->threads, &norm2, rows, middle, d->normed, d->stats);
	forward_up(d, at, rows, weights, up);
	dpo_activation_forward(d->threads, d->config->family->activation, rows, d->inner, up, d->activated);
	multiply(d, &down, rows, rows_of(d->activated, d->inner), rows_of(middle, d->hidden),
	    rows_of(out + at_first, d->hidden));
}

static enum dpo_status
forward(struct dpo_decoder *d, const float *weights, const struct dpo_sequence *sequence, const float **h,
    struct dpo_error *err)
{
	struct embedding embedding = { d, sequence, weights, NULL };
	struct dpo_norm norm = dpo_places_norm(&d->places, &d->places.norm, weights, NULL);
	size_t layers = d->config->layers;

	if (!prepare(d, sequence))
		return dpo_fail_memory(err);
	*h = d->h;
	if (sequence->rows == 0)
		return DPO_OK;
	dpo_parallel_for(useful_threads(d, sequence->rows), sequence->rows, embed_row, &embedding);
	for (size_t layer = 0; layer < layers; layer++)
		forward_layer(d, layer, sequence, weights,
		    layer + 1 < layers ? d->kept[layer + 1].x : d->last);
	dpo_norm_forward(d->threads, &norm, sequence->head_rows,
	    d->last + sequence->head_first * d->hidden, d->h, d->h_stats);
	return DPO_OK;
}

enum dpo_status
dpo_decoder_forward(struct dpo_decoder *decoder, const float *weights,
    const struct dpo_sequence *sequence, const float **h, struct dpo_error *err)
{
	decoder->caches = NULL;
	decoder->step = false;
	return forward(decoder, weights, sequence, h, err);
}

enum dpo_status
dpo_decoder_prefill(struct dpo_decoder *decoder, const float *weights, const struct dpo_sequence *sequence,
    struct dpo_cache *cache, size_t positions, const float **h, struct dpo_error *err)
{
	struct dpo_decoder *d = decoder;
	enum dpo_status status = dpo_cache_reserve(cache, d->config->layers, 2 * d->kv, positions, err);

	assert(!d->train && sequence->rows <= positions && sequence->n_segments <= 1);
	if (status != DPO_OK)
		return status;
	d->caches = &cache;
	d->step = false;
	status = forward(d, weights, sequence, h, err);
	d->caches = NULL;
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
	if (!lay_out_step(&d->rows, tokens, caches, n))
		return dpo_fail_memory(err);
	d->caches = caches;
	d->step = true;
	status = forward(d, weights, &d->rows, h, err);
	d->caches = NULL;
	d->step = false;
	for (size_t i = 0; i < n; i++)
		caches[i]->length++;
	return status;
}

/* ------------------------------------------------------------------ backward */

/* d->dx: from the gradient of the layer's output to that of its middle. */
static void
backward_mlp(const struct dpo_decoder *d, size_t layer, const struct dpo_sequence *s, const float *weights,
    float *gradients)
{
	const struct dpo_layer_places *at = &d->places.layers[layer];
	const struct kept *k = &d->kept[layer];
	struct dpo_norm norm = dpo_places_norm(&d->places, &at->norm2, weights, gradients);
	struct dpo_linear down = linear_at(d, &at->down, weights, gradients);
	size_t first = first_wanted(d, layer, s), rows = s->rows - first;
	const float *middle = k->middle + first * d->hidden;
	float *dx = d->dx + first * d->hidden;

	dpo_linear_backward_input(d->threads, &down, rows, rows_of(dx, d->hidden), 0.0f,
	    rows_of(d->d_activated, d->inner));
	dpo_activation_backward(d->threads, d->config->family->activation, rows, d->inner, k->up + first * d->up,
	    d->d_activated, d->d_up, d->activated);
	dpo_linear_backward_weight(d->threads, &down, rows, rows_of(d->activated, d->inner), rows_of(dx, d->hidden));
	dpo_norm_forward(d->threads, &norm, rows, middle, d->normed, d->stats);
	for (size_t i = 0; i < d->places.n_up; i++) {
		struct dpo_linear up = linear_at(d, &at->up[i], weights, gradients);
		struct dpo_rows dy = rows_of(d->d_up + i * d->inner, d->up);

		dpo_linear_backward_input(d->threads, &up, rows, dy, i ? 1.0f : 0.0f,
		    rows_of(d->d_normed, d->hidden));
		dpo_linear_backward_weight(d->threads, &up, rows, rows_of(d->normed, d->hidden), dy);
	}
	dpo_norm_backward(d->threads, &norm, rows, middle, d->stats, d->d_normed, dx, d->partial);
}

/* d->d_qkv from the gradient of the layer's middle. */
static void
backward_attended(const struct dpo_decoder *d, size_t layer, const struct dpo_sequence *s, const float *weights,
    float *gradients)
{
	const struct kept *k = &d->kept[layer];
	struct dpo_linear o = linear_at(d, &d->places.layers[layer].o, weights, gradients);
	struct dpo_attention attention = attention_of(d, layer, s);
	size_t rows = s->rows - attention.first, at_first = attention.first * d->query;
	struct dpo_rows dy = rows_of(d->dx + attention.first * d->hidden, d->hidden);

	dpo_linear_backward_input(d->threads, &o, rows, dy, 0.0f, rows_of(d->d_attended + at_first, d->query));
	dpo_linear_backward_weight(d->threads, &o, rows, rows_of(k->attended + at_first, d->query), dy);
	dpo_attention_backward(d->threads, &attention, k->qkv, k->attended, k->log_sums, d->d_attended, d->d_qkv);
}

/* d->dx: from the gradient of the layer's middle to that of its input. */
static void
backward_attention(const struct dpo_decoder *d, size_t layer, const struct dpo_sequence *s,
    const float *weights, float *gradients)
{
	const struct dpo_layer_places *at = &d->places.layers[layer];
	const struct kept *k = &d->kept[layer];
	struct dpo_norm norm = dpo_places_norm(&d->places, &at->norm1, weights, gradients);
	size_t column = 0;

	backward_attended(d, layer, s, weights, gradients);
	if (d->rope)
		dpo_rope_apply(d->threads, d->rope, s->positions, s->rows, d->d_qkv, d->qkv,
		    d->config->heads + d->config->kv_heads, d->config->head_dim, -1.0f);
	dpo_norm_forward(d->threads, &norm, s->rows, k->x, d->normed, d->stats);
	for (size_t i = 0; i < d->places.n_qkv; i++) {
		struct dpo_linear map = linear_at(d, &at->qkv[i], weights,
		    gradients);
		struct dpo_rows dy = rows_of(d->d_qkv + column, d->qkv);

		dpo_linear_backward_input(d->threads, &map, s->rows, dy, i ? 1.0f : 0.0f,
		    rows_of(d->d_normed, d->hidden));
		dpo_linear_backward_weight(d->threads, &map, s->rows, rows_of(d->normed, d->hidden),
		    dy);
		column += map.out;
	}
	dpo_norm_backward(d->threads, &norm, s->rows, k->x, d->stats, d->d_normed, d->dx,
	    d->partial);
}

void
dpo_decoder_backward(struct dpo_decoder *decoder, const float *weights,
    const struct dpo_sequence *sequence, const float *dh, float *gradients)
{
	struct dpo_decoder *d = decoder;
	struct embedding embedding = { d, sequence, weights, gradients };
	struct dpo_norm norm = dpo_places_norm(&d->places, &d->places.norm, weights, gradients);
	size_t first = sequence->head_first * d->hidden;

	if (sequence->rows == 0)
		return;
	memset(d->dx, 0, sequence->rows * d->hidden * sizeof *d->dx);
	dpo_norm_backward(d->threads, &norm, sequence->head_rows, d->last + first, d->h_stats, dh,
	    d->dx + first, d->partial);
	for (size_t layer = d->config->layers; layer-- > 0;) {
		backward_mlp(d, layer, sequence, weights, gradients);
		backward_attention(d, layer, sequence, weights, gradients);
	}
	dpo_parallel_for(useful_threads(d, sequence->rows),
	    (d->hidden + EMBED_COLUMNS - 1) / EMBED_COLUMNS, embed_backward, &embedding);
}
