#include "decoder/layer.h"

#include "decoder/activation.h"
#include "decoder/attention.h"
#include "decoder/dropout.h"
#include "decoder/linear.h"
#include "decoder/lowrank.h"
#include "decoder/norm.h"
#include "decoder/rope.h"
#include "decoder/skinny.h"
#include "kernel/vector.h"
#include "model/config.h"

#include <math.h>
#include <string.h>

static struct dpo_matrix
matrix(float *data, size_t ld)
{
	return (struct dpo_matrix){ data, ld };
}

/* ------------------------------------------------------------------ memory */

struct dpo_layers
dpo_layers_of(const struct dpo_config *config, const struct dpo_places *places, int threads)
{
	struct dpo_layers l = { .config = config, .places = places, .threads = threads };

	l.hidden = config->hidden_size;
	l.query = config->heads * config->head_dim;
	l.kv = config->kv_heads * config->head_dim;
	l.qkv = l.query + 2 * l.kv;
	l.inner = config->intermediate_size;
	l.up = config->family->mlp == DPO_MLP_GATED ? 2 * l.inner : l.inner;
	return l;
}

static bool
has_post_norm(const struct dpo_layers *l)
{
	return l->config->family->names.post1;
}

static bool
has_qk_norm(const struct dpo_layers *l)
{
	return l->config->family->qk_norm != DPO_QK_NORM_NONE;
}

static size_t
larger(size_t a, size_t b)
{
	return a > b ? a : b;
}

static void
carve_backward(struct dpo_layers *l, size_t rows, struct dpo_arena *arena)
{
	size_t partial = dpo_norm_partial(rows, l->hidden);

	l->dx = dpo_arena_take(arena, rows, l->hidden);
	/* Attention's backward pass comes after the MLP's, and the norm's after attention's. */
	l->d_up = l->d_qkv = dpo_arena_take(arena, rows, larger(l->up, l->qkv));
	l->d_normed = l->d_attended = dpo_arena_take(arena, rows, larger(l->hidden, l->query));
	l->d_activated = l->up == l->inner ? l->d_up : dpo_arena_take(arena, rows, l->inner);
	if (has_post_norm(l) || l->config->parallel_residual)
		l->d_branch = dpo_arena_take(arena, rows, l->hidden);
	if (has_qk_norm(l)) {
		l->d_raw = dpo_arena_take(arena, rows, l->query);
		partial = larger(partial, l->config->family->qk_norm == DPO_QK_NORM_HEAD ?
		    dpo_norm_partial(rows * l->config->heads, l->config->head_dim) : dpo_norm_partial(rows, l->query));
	}
	l->partial = dpo_arena_take(arena, partial, 1);
	l->d_scores = dpo_arena_take(arena, rows, dpo_attention_scratch(l->config->heads, l->config->kv_heads,
	    l->config->head_dim));
}

void
dpo_saved_carve(struct dpo_saved *k, const struct dpo_layers *l, size_t rows, struct dpo_arena *arena)
{
	k->x = dpo_arena_take(arena, rows, l->hidden);
	if (has_qk_norm(l)) {
		k->raw[0] = dpo_arena_take(arena, rows, l->query);
		k->raw[1] = dpo_arena_take(arena, rows, l->kv);
	}
	k->qkv = dpo_arena_take(arena, rows, l->qkv);
	k->attended = dpo_arena_take(arena, rows, l->query);
	k->log_sums = dpo_arena_take(arena, l->config->heads, rows);
	for (size_t i = 0; has_post_norm(l) && i < 2; i++)
		k->added[i] = dpo_arena_take(arena, rows, l->hidden);
	k->middle = dpo_arena_take(arena, rows, l->hidden);
	k->up = dpo_arena_take(arena, rows, l->up);
}

void
dpo_layers_carve(struct dpo_layers *l, size_t rows, bool train, struct dpo_arena *arena)
{
	l->normed = dpo_arena_take(arena, rows, l->hidden);
	l->stats = dpo_arena_take(arena, rows, 2);
	if (has_qk_norm(l)) {
		l->heads = dpo_arena_take(arena, rows, l->query);
		l->head_stats = dpo_arena_take(arena, rows, 2 * l->config->heads);
	}
	l->activated = dpo_arena_take(arena, rows, l->inner);
	if (train)
		carve_backward(l, rows, arena);
}

/* ------------------------------------------------------------------ parts */

static bool
is_there(const struct dpo_place *place)
{
	return place->weight;
}

static struct dpo_linear
linear_at(const struct dpo_layers *l, const struct dpo_place *place, const float *weights,
    float *gradients)
{
	struct dpo_linear map = dpo_places_linear(l->places, place, weights, gradients);

	map.bf16 = l->bf16;
	map.scratch = l->scratch;
	return map;
}

/*
 * The first row that the layer's outputs are wanted of. Of the last layer that is the first which predicts: the rows before
 * it serve as keys and values alone.
 */
static size_t
first_wanted(const struct dpo_layers *l, size_t layer, const struct dpo_sequence *s)
{
	return layer + 1 < l->config->layers ? 0 : s->head_first;
}

/* What was saved, from row `first` on; queries, keys and values stay where they are. */
static struct dpo_saved
saved_from(const struct dpo_layers *l, const struct dpo_saved *k, size_t first)
{
	struct dpo_saved from = *k;

	from.x += first * l->hidden;
	from.attended += first * l->query;
	for (size_t i = 0; i < 2; i++)
		if (from.added[i])
			from.added[i] += first * l->hidden;
	from.middle += first * l->hidden;
	from.up += first * l->up;
	return from;
}

static bool
lowrank_at(const struct dpo_layers *l, const struct dpo_place *place, float *gradients, struct dpo_lowrank *low)
{
	if (!dpo_places_lowrank(l->places, place, gradients, low))
		return false;
	low->bf16 = l->bf16;
	low->scratch = l->lowrank;
	low->dropout.key = l->dropout;
	low->dropout.p = l->dropping ? low->dropout.p : 0;
	return true;
}

static struct dpo_attention
attention_of(const struct dpo_layers *l, size_t layer, const struct dpo_sequence *s)
{
	const struct dpo_config *c = l->config;
	struct dpo_attention a = dpo_attention_of(s, c->heads, c->kv_heads, c->head_dim,
	    c->family->qkv_by_head);

	a.scale = 1.0f / sqrtf((float)c->query_scalar);
	a.cap = (float)c->attention_cap;
	a.window = dpo_config_window(c, layer);
	a.bf16 = l->bf16;
	a.first = first_wanted(l, layer, s);
	return a;
}

/* Queries and keys of qkv by their positions; sign -1 for their gradients. */
static void
rotate(const struct dpo_layers *l, const struct dpo_attention *a, float *qkv, float sign)
{
	const struct dpo_sequence *s = a->sequence;
	struct dpo_rope_heads queries = { 0, a->query_step, a->heads };
	struct dpo_rope_heads keys = { a->key, a->kv_step, a->kv_heads };

	if (!l->rope)
		return;
	dpo_rope_apply(l->threads, l->rope, l->config->rope.dim, s->positions, s->rows, qkv, l->qkv,
	    queries, sign);
	dpo_rope_apply(l->threads, l->rope, l->config->rope.dim, s->positions, s->rows, qkv, l->qkv,
	    keys, sign);
}

static void
copy_columns(size_t rows, size_t columns, struct dpo_matrix from, struct dpo_matrix to)
{
	for (size_t row = 0; row < rows; row++)
		memcpy(to.data + row * to.ld, from.data + row * from.ld, columns * sizeof *to.data);
}

/* What a part reads: x through the norm before it, if there is one. */
static float *
normed(const struct dpo_layers *l, const struct dpo_place *place, size_t rows, float *x,
    const float *weights)
{
	struct dpo_norm norm = dpo_places_norm(l->places, place, weights, NULL);

	if (!is_there(place))
		return x;
	dpo_norm_forward(l->threads, &norm, rows, x, l->normed, l->stats);
	return l->normed;
}

/* ------------------------------------------------------------------ forward */

/* The products of a step are skinny ones. */
static void
multiply(const struct dpo_layers *l, const struct dpo_linear *map, size_t rows, struct dpo_matrix x,
    struct dpo_matrix residual, struct dpo_matrix y)
{
	if (l->step)
		dpo_skinny_forward(dpo_cpu(), l->threads, map, rows, x, residual, y);
	else
		dpo_linear_forward(l->threads, map, rows, x, residual, y);
}

/* The adapter's share in a step, by skinny products. */
static void
step_lowrank(const struct dpo_layers *l, const struct dpo_lowrank *low, size_t rows, struct dpo_matrix x, struct dpo_matrix y)
{
	struct dpo_linear a = { .in = low->in, .out = low->rank, .layout = DPO_LAYOUT_OUT_IN, .weight = low->a };
	struct dpo_linear b = { .in = low->rank, .out = low->out, .layout = DPO_LAYOUT_OUT_IN, .weight = low->b };
	struct dpo_matrix u = matrix(low->u, low->rank), share = matrix(low->scratch, low->out);

	multiply(l, &a, rows, x, (struct dpo_matrix){ 0 }, u);
	dpo_vector_scale(u.data, low->scale, rows * low->rank);
	multiply(l, &b, rows, u, (struct dpo_matrix){ 0 }, share);
	for (size_t row = 0; row < rows; row++)
		dpo_vector_add(y.data + row * y.ld, share.data + row * share.ld, low->out);
}

/* A map with its adapter, if there is one; arguments as for dpo_linear. */
static void
forward_map(const struct dpo_layers *l, const struct dpo_place *place, const float *weights, size_t rows,
    struct dpo_matrix x, struct dpo_matrix residual, struct dpo_matrix y)
{
	struct dpo_linear map = linear_at(l, place, weights, NULL);
	struct dpo_lowrank low;

	multiply(l, &map, rows, x, residual, y);
	if (!lowrank_at(l, place, NULL, &low))
		return;
	if (l->step)
		step_lowrank(l, &low, rows, x, y);
	else
		dpo_lowrank_forward(l->threads, &low, rows, x, y);
}

/* Keys and values of a prompt's rows go to their cache. */
static void
remember(const struct dpo_layers *l, size_t layer, const struct dpo_attention *a, size_t rows,
    const float *qkv)
{
	for (size_t row = 0; row < rows; row++, qkv += l->qkv)
		for (size_t head = 0; head < a->kv_heads; head++)
			dpo_cache_put(l->caches[0], layer, row, head * a->head_dim, qkv + a->key + head * a->kv_step,
			    qkv + a->value + head * a->kv_step, a->head_dim);
}

static void
attend(const struct dpo_layers *l, size_t layer, const struct dpo_saved *k,
    const struct dpo_sequence *s)
{
	struct dpo_attention attention = attention_of(l, layer, s);

	rotate(l, &attention, k->qkv, 1.0f);
	if (l->caches && !l->step)
		remember(l, layer, &attention, s->rows, k->qkv);
	if (l->step)
		dpo_attention_step(l->threads, &attention, layer, s->rows, k->qkv, l->caches, k->attended);
	else
		dpo_attention_forward(l->threads, &attention, k->qkv, k->attended, k->log_sums);
}

/* Queries (i 0) or keys (1) through their norm, to their columns of qkv. */
static void
norm_heads(const struct dpo_layers *l, const struct dpo_place *place, size_t rows, size_t width,
    const float *weights, const float *raw, float *to)
{
	struct dpo_norm norm = dpo_places_norm(l->places, place, weights, NULL);

	dpo_norm_forward(l->threads, &norm, rows * (width / norm.n), raw, l->heads,
	    l->head_stats);
	copy_columns(rows, width, matrix(l->heads, width), matrix(to, l->qkv));
}

static void
forward_qkv(const struct dpo_layers *l, const struct dpo_layer_places *at, size_t rows,
    float *in, const float *weights, const struct dpo_saved *k)
{
	size_t column = 0;

	for (size_t i = 0; i < l->places->n_qkv; i++) {
		bool norm = i < 2 && is_there(&at->qk_norm[i]);
		size_t out = at->qkv[i].out;

		forward_map(l, &at->qkv[i], weights, rows, matrix(in, l->hidden),
		    (struct dpo_matrix){ 0 }, norm ? matrix(k->raw[i], out) :
		    matrix(k->qkv + column, l->qkv));
		if (norm)
			norm_heads(l, &at->qk_norm[i], rows, out, weights, k->raw[i],
			    k->qkv + column);
		column += out;
	}
}

/* y = x + map(in), or x + norm(map(in)) by way of `added`. */
static void
add_branch(const struct dpo_layers *l, const struct dpo_place *map, const struct dpo_place *post,
    size_t rows, struct dpo_matrix in, const float *weights, float *added, float *x, float *y)
{
	struct dpo_norm norm = dpo_places_norm(l->places, post, weights, NULL);

	if (!is_there(post)) {
		forward_map(l, map, weights, rows, in, matrix(x, l->hidden),
		    matrix(y, l->hidden));
		return;
	}
	forward_map(l, map, weights, rows, in, (struct dpo_matrix){ 0 },
	    matrix(added, l->hidden));
	dpo_norm_forward(l->threads, &norm, rows, added, y, l->stats);
	dpo_vector_add(y, x, rows * l->hidden);
}

static void
forward_attention(const struct dpo_layers *l, size_t layer, const struct dpo_saved *k, const struct dpo_sequence *s,
    const float *weights)
{
	const struct dpo_layer_places *at = &l->places->layers[layer];
	size_t first = first_wanted(l, layer, s);
	struct dpo_saved wanted = saved_from(l, k, first);

	forward_qkv(l, at, s->rows, normed(l, &at->norm1, s->rows, k->x, weights), weights, k);
	attend(l, layer, k, s);
	add_branch(l, &at->o, &at->post1, s->rows - first, matrix(wanted.attended, l->query), weights,
	    wanted.added[0], wanted.x, wanted.middle);
}

/* What the MLP reads before its norm. */
static float *
mlp_input(const struct dpo_layers *l, const struct dpo_saved *k)
{
	return l->config->parallel_residual ? k->x : k->middle;
}

static void
forward_up(const struct dpo_layers *l, size_t layer, const struct dpo_saved *k, size_t rows, const float *weights)
{
	const struct dpo_layer_places *at = &l->places->layers[layer];
	float *in = normed(l, &at->norm2, rows, mlp_input(l, k), weights);

	for (size_t i = 0; i < l->places->n_up; i++)
		forward_map(l, &at->up[i], weights, rows, matrix(in, l->hidden),
		    (struct dpo_matrix){ 0 }, matrix(k->up + i * l->inner, l->up));
}

static void
forward_down(const struct dpo_layers *l, size_t layer, const struct dpo_saved *k, size_t rows, const float *weights,
    float *out)
{
	const struct dpo_layer_places *at = &l->places->layers[layer];

	dpo_activation_forward(l->threads, l->config->activation, l->config->family->mlp, rows,
	    l->inner, k->up, l->activated);
	add_branch(l, &at->down, &at->post2, rows, matrix(l->activated, l->inner), weights,
	    k->added[1], k->middle, out);
}

void
dpo_layer_forward(const struct dpo_layers *l, size_t layer, const struct dpo_saved *k,
    const struct dpo_sequence *s, const float *weights, float *out)
{
	size_t first = first_wanted(l, layer, s);
	struct dpo_saved wanted = saved_from(l, k, first);

	forward_attention(l, layer, k, s, weights);
	forward_up(l, layer, &wanted, s->rows - first, weights);
	forward_down(l, layer, &wanted, s->rows - first, weights, out + first * l->hidden);
}

void
dpo_layer_again(const struct dpo_layers *l, size_t layer, const struct dpo_saved *k, const struct dpo_sequence *s,
    const float *weights)
{
	size_t first = first_wanted(l, layer, s);
	struct dpo_saved wanted = saved_from(l, k, first);
	struct dpo_lowrank low;

	forward_attention(l, layer, k, s, weights);
	forward_up(l, layer, &wanted, s->rows - first, weights);
	if (has_post_norm(l))	/* which read what the last product made; its sum goes where the gradient will be */
		forward_down(l, layer, &wanted, s->rows - first, weights, l->d_normed);
	else if (lowrank_at(l, &l->places->layers[layer].down, NULL, &low))
		dpo_lowrank_draw(l->threads, &low, s->rows - first);
}

/* ------------------------------------------------------------------ backward */

/* dx.data may be NULL: it is not wanted. */
static void
backward_map_input(const struct dpo_layers *l, const struct dpo_place *place, const float *weights, size_t rows,
    struct dpo_matrix dy, bool keep, struct dpo_matrix dx)
{
	struct dpo_linear map = linear_at(l, place, weights, NULL);
	struct dpo_lowrank low;

	if (dx.data)
		dpo_linear_backward_input(l->threads, &map, rows, dy, keep, dx);
	if (lowrank_at(l, place, NULL, &low))
		dpo_lowrank_backward_input(l->threads, &low, rows, dy, dx, l->lowrank_v);
}

static void
backward_map_weight(const struct dpo_layers *l, const struct dpo_place *place, const float *weights, float *gradients,
    size_t rows, struct dpo_matrix x, struct dpo_matrix dy)
{
	struct dpo_linear map = linear_at(l, place, weights, gradients);
	struct dpo_lowrank low;

	dpo_linear_backward_weight(l->threads, &map, rows, x, dy);
	if (lowrank_at(l, place, gradients, &low))
		dpo_lowrank_backward_weight(l->threads, &low, rows, x, dy, l->lowrank_v);
}

/* The gradient of what a branch added, from that of the sum: back through the norm after it. */
static float *
branch_gradient(const struct dpo_layers *l, const struct dpo_place *post, size_t rows,
    const float *weights, float *gradients, const float *added, float *dy)
{
	struct dpo_norm norm = dpo_places_norm(l->places, post, weights, gradients);

	if (!is_there(post))
		return dy;
	dpo_norm_forward(l->threads, &norm, rows, added, l->normed, l->stats);
	memset(l->d_branch, 0, rows * l->hidden * sizeof *l->d_branch);
	dpo_norm_backward(l->threads, &norm, rows, added, l->stats, dy, l->d_branch, l->partial);
	return l->d_branch;
}

/* The gradient of a map's input: added to dx at once, or kept for the norm before it. dx NULL: it is not wanted. */
static void
input_gradient(const struct dpo_layers *l, const struct dpo_place *place,
    const struct dpo_place *map, const float *weights, size_t rows, struct dpo_matrix dy, bool first, float *dx)
{
	bool norm = dx && is_there(place);

	backward_map_input(l, map, weights, rows, dy, !norm || !first,
	    matrix(norm ? l->d_normed : dx, l->hidden));
}

/* The backward pass of the norm, which read x, from what input_gradient kept to dx. */
static void
norm_gradient(const struct dpo_layers *l, const struct dpo_place *place, size_t rows,
    const float *weights, float *gradients, const float *x, float *dx)
{
	struct dpo_norm norm = dpo_places_norm(l->places, place, weights, gradients);

	if (is_there(place))
		dpo_norm_backward(l->threads, &norm, rows, x, l->stats, l->d_normed, dx, l->partial);
}

/* Add to dx, the gradient of what the MLP's sum passes on, what comes through the MLP from dy. */
static void
backward_mlp(const struct dpo_layers *l, size_t layer, const struct dpo_saved *k, size_t rows, const float *weights,
    float *gradients, float *dy, float *dx)
{
	const struct dpo_layer_places *at = &l->places->layers[layer];
	float *in;

	dy = branch_gradient(l, &at->post2, rows, weights, gradients, k->added[1], dy);
	backward_map_input(l, &at->down, weights, rows, matrix(dy, l->hidden), false,
	    matrix(l->d_activated, l->inner));
	dpo_activation_backward(l->threads, l->config->activation, l->config->family->mlp, rows,
	    l->inner, k->up, l->d_activated, l->d_up, l->activated);
	backward_map_weight(l, &at->down, weights, gradients, rows, matrix(l->activated, l->inner),
	    matrix(dy, l->hidden));
	in = normed(l, &at->norm2, rows, mlp_input(l, k), weights);
	for (size_t i = 0; i < l->places->n_up; i++) {
		struct dpo_matrix d_up = matrix(l->d_up + i * l->inner, l->up);

		input_gradient(l, &at->norm2, &at->up[i], weights, rows, d_up, i == 0, dx);
		backward_map_weight(l, &at->up[i], weights, gradients, rows, matrix(in, l->hidden), d_up);
	}
	norm_gradient(l, &at->norm2, rows, weights, gradients, mlp_input(l, k), dx);
}

/* The gradient of raw queries or keys from that of the normed ones, columns of d_qkv. */
static struct dpo_matrix
heads_gradient(const struct dpo_layers *l, const struct dpo_place *place, size_t rows,
    size_t width, const float *weights, float *gradients, const float *raw, struct dpo_matrix dy)
{
	struct dpo_norm norm = dpo_places_norm(l->places, place, weights, gradients);
	size_t n = rows * (width / norm.n);

	dpo_norm_forward(l->threads, &norm, n, raw, l->heads, l->head_stats);
	copy_columns(rows, width, dy, matrix(l->heads, width));
	memset(l->d_raw, 0, rows * width * sizeof *l->d_raw);
	dpo_norm_backward(l->threads, &norm, n, raw, l->head_stats, l->heads, l->d_raw, l->partial);
	return matrix(l->d_raw, width);
}

static void
backward_qkv(const struct dpo_layers *l, size_t layer, const struct dpo_saved *k, size_t rows, const float *weights,
    float *gradients)
{
	const struct dpo_layer_places *at = &l->places->layers[layer];
	float *in, *dx = dpo_places_below(l->places, layer) ? l->dx : NULL;
	struct dpo_matrix dy[3];
	size_t column = 0;

	for (size_t i = 0; i < l->places->n_qkv; i++) {
		dy[i] = matrix(l->d_qkv + column, l->qkv);
		column += at->qkv[i].out;
	}
	in = normed(l, &at->norm1, rows, k->x, weights);
	for (size_t i = 0; i < l->places->n_qkv; i++) {
		if (i < 2 && is_there(&at->qk_norm[i]))
			dy[i] = heads_gradient(l, &at->qk_norm[i], rows, at->qkv[i].out, weights,
			    gradients, k->raw[i], dy[i]);
		input_gradient(l, &at->norm1, &at->qkv[i], weights, rows, dy[i], i == 0, dx);
		backward_map_weight(l, &at->qkv[i], weights, gradients, rows, matrix(in, l->hidden), dy[i]);
	}
	if (dx)
		norm_gradient(l, &at->norm1, rows, weights, gradients, k->x, dx);
}

/* The same for attention; dy begins at the first row that is wanted. */
static void
backward_attention(const struct dpo_layers *l, size_t layer, const struct dpo_saved *k, const struct dpo_sequence *s,
    const float *weights, float *gradients, float *dy)
{
	const struct dpo_layer_places *at = &l->places->layers[layer];
	struct dpo_attention attention = attention_of(l, layer, s);
	struct dpo_saved wanted = saved_from(l, k, attention.first);
	size_t rows = s->rows - attention.first;

	dy = branch_gradient(l, &at->post1, rows, weights, gradients, wanted.added[0], dy);
	backward_map_input(l, &at->o, weights, rows, matrix(dy, l->hidden), false,
	    matrix(l->d_attended + attention.first * l->query, l->query));
	backward_map_weight(l, &at->o, weights, gradients, rows, matrix(wanted.attended, l->query),
	    matrix(dy, l->hidden));
	dpo_attention_backward(l->threads, &attention, k->qkv, k->attended, k->log_sums,
	    l->d_attended, l->d_qkv, l->d_scores);
	rotate(l, &attention, l->d_qkv, -1.0f);
	backward_qkv(l, layer, k, s->rows, weights, gradients);
}

void
dpo_layer_backward(const struct dpo_layers *l, size_t layer, const struct dpo_saved *k, const struct dpo_sequence *s,
    const float *weights, float *gradients)
{
	size_t first = first_wanted(l, layer, s), rows = s->rows - first;
	struct dpo_saved wanted = saved_from(l, k, first);
	float *dx = l->dx + first * l->hidden, *dy = dx;

	if (l->config->parallel_residual) {
		memcpy(l->d_branch, dx, rows * l->hidden * sizeof *dx);
		dy = l->d_branch;
	}
	backward_mlp(l, layer, &wanted, rows, weights, gradients, dy, dx);
	backward_attention(l, layer, k, s, weights, gradients, dy);
}

