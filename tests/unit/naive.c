#include "naive.h"

#include "model/config.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define SIZES "\"vocab_size\":13,\"hidden_size\":12,\"num_hidden_layers\":2,\"num_attention_heads\":4," \
	"\"num_key_value_heads\":2,\"intermediate_size\":10,\"max_position_embeddings\":32"

const char *const naive_families[] = {
	"{\"model_type\":\"gpt_neox\",\"vocab_size\":13,\"hidden_size\":12,\"num_hidden_layers\":2,"
	    "\"num_attention_heads\":2,\"intermediate_size\":10,\"max_position_embeddings\":32,\"rotary_pct\":0.67}",
	"{\"model_type\":\"gpt_neox\",\"vocab_size\":13,\"hidden_size\":12,\"num_hidden_layers\":2,"
	    "\"num_attention_heads\":2,\"intermediate_size\":10,\"max_position_embeddings\":32,\"rotary_pct\":1,"
	    "\"use_parallel_residual\":false,\"hidden_act\":\"gelu_new\",\"tie_word_embeddings\":true}",
	"{\"model_type\":\"mistral\"," SIZES ",\"head_dim\":4,\"sliding_window\":3}",
	"{\"model_type\":\"qwen2\"," SIZES ",\"head_dim\":4,\"use_sliding_window\":true,\"sliding_window\":4,"
	    "\"max_window_layers\":1}",
	"{\"model_type\":\"qwen3\"," SIZES ",\"head_dim\":6,\"tie_word_embeddings\":true}",
	"{\"model_type\":\"phi3\"," SIZES ",\"head_dim\":4,\"partial_rotary_factor\":0.5,\"sliding_window\":5}",
	"{\"model_type\":\"gemma2\"," SIZES ",\"pad_token_id\":null,\"head_dim\":4,\"query_pre_attn_scalar\":3,"
	    "\"sliding_window\":3,\"attn_logit_softcapping\":1.5,\"final_logit_softcapping\":2}",
	"{\"model_type\":\"olmo2\"," SIZES ",\"pad_token_id\":null,\"head_dim\":4}",
	NULL
};

const char naive_gpt2[] =
    "{\"model_type\":\"gpt2\",\"architectures\":[\"GPT2LMHeadModel\"],\"vocab_size\":13,"
    "\"n_embd\":12,\"n_layer\":2,"
    "\"n_head\":3,\"n_inner\":20,\"n_positions\":24,\"activation_function\":\"gelu_new\","
    "\"layer_norm_epsilon\":1e-5}";
const char naive_llama_tied[] =
    "{\"model_type\":\"llama\",\"architectures\":[\"LlamaForCausalLM\"],\"vocab_size\":17,"
    "\"hidden_size\":16,"
    "\"num_hidden_layers\":2,\"num_attention_heads\":4,\"num_key_value_heads\":2,"
    "\"intermediate_size\":20,"
    "\"max_position_embeddings\":32,\"rms_norm_eps\":1e-5,\"rope_theta\":10000.0,"
    "\"hidden_act\":\"silu\","
    "\"tie_word_embeddings\":true}";
const char naive_llama_untied[] =
    "{\"model_type\":\"llama\",\"architectures\":[\"LlamaForCausalLM\"],\"vocab_size\":11,"
    "\"hidden_size\":16,"
    "\"num_hidden_layers\":2,\"num_attention_heads\":4,\"num_key_value_heads\":2,"
    "\"intermediate_size\":12,"
    "\"max_position_embeddings\":32,\"rms_norm_eps\":1e-6,\"rope_theta\":500.0,"
    "\"hidden_act\":\"silu\","
    "\"tie_word_embeddings\":false,\"attention_bias\":true,\"mlp_bias\":true}";

float
naive_random(uint64_t *seed)
{
	*seed = *seed * 6364136223846793005u + 1442695040888963407u;
	return (float)((double)(*seed >> 40) / (double)(1u << 23) - 1.0);
}

float *
naive_numbers(size_t n, uint64_t *seed)
{
	float *x = dpo_alloc_aligned(n, sizeof *x);

	assert_non_null(x);
	for (size_t i = 0; i < n; i++)
		x[i] = naive_random(seed);
	return x;
}

void
naive_open(struct naive_model *model, const char *config_json, uint64_t seed)
{
	struct dpo_error err;

	*model = (struct naive_model){ 0 };
	if (dpo_config_read(&model->config, config_json, strlen(config_json), &err) != DPO_OK ||
	    dpo_params_init(&model->params, &model->config, &err) != DPO_OK)
		fail_msg("%s", err.text);
	model->weights = dpo_alloc_aligned(model->params.total, sizeof(float));
	model->exact = dpo_alloc(model->params.total, sizeof(double));
	assert_true(model->weights && model->exact);
	for (size_t i = 0; i < model->params.count; i++) {
		const struct dpo_tensor *t = &model->params.list[i];

		for (size_t j = 0; j < t->count; j++) {
			float r = naive_random(&seed);

			model->weights[t->offset + j] =
			    t->init == DPO_INIT_ONE ? 1.0f + 0.3f * r : 0.5f * r;
		}
	}
	for (size_t i = 0; i < model->params.total; i++)
		model->exact[i] = (double)model->weights[i];
}

void
naive_close(struct naive_model *model)
{
	dpo_params_free(&model->params);
	free(model->weights);
	free(model->exact);
	*model = (struct naive_model){ 0 };
}

/* A tensor by name, with the layer's number for %zu; NULL if the model has none. */
static const double *
tensor(const struct naive_model *m, const char *before, size_t layer, const char *after)
{
	char name[160];
	const struct dpo_tensor *t;

	if (layer == SIZE_MAX)
		snprintf(name, sizeof name, "%s%s", before, after);
	else
		snprintf(name, sizeof name, "%s.%zu.%s", before, layer, after);
	t = dpo_params_find(&m->params, name);
	return t ? m->exact + t->offset : NULL;
}

static double *
zeros(size_t n)
{
	double *block = dpo_alloc(n, sizeof *block);

	assert_non_null(block);
	return block;
}

/* A weight and its bias (NULL if there is none); a part without a name has none. */
struct map {
	const double *w, *b;
};

static struct map
map_of(const struct naive_model *m, size_t layer, const char *name)
{
	char weight[64], bias[64];

	if (!name)
		return (struct map){ 0 };
	snprintf(weight, sizeof weight, "%s.weight", name);
	snprintf(bias, sizeof bias, "%s.bias", name);
	if (layer == SIZE_MAX)
		return (struct map){ tensor(m, weight, layer, ""), tensor(m, bias, layer, "") };
	return (struct map){ tensor(m, m->config.family->names.layer, layer, weight),
	    tensor(m, m->config.family->names.layer, layer, bias) };
}

/* y[out] = W x + b, in the family's layout. */
static void
linear(const struct naive_model *m, struct map map, const double *x, size_t in, size_t out, double *y)
{
	bool in_out = m->config.family->layout == DPO_LAYOUT_IN_OUT;

	for (size_t o = 0; o < out; o++) {
		y[o] = map.b ? map.b[o] : 0.0;
		for (size_t i = 0; i < in; i++)
			y[o] += x[i] * (in_out ? map.w[i * out + o] : map.w[o * in + i]);
	}
}

/* y may be x; without a weight it is x. */
static void
norm(const struct naive_model *m, const double *x, size_t n, struct map map, double *y)
{
	bool layer = m->config.family->norm == DPO_NORM_LAYER;
	double mean = 0.0, spread = 0.0, one = m->config.family->norm == DPO_NORM_RMS_FROM_ONE ? 1.0 : 0.0;

	for (size_t i = 0; i < n && layer; i++)
		mean += x[i] / (double)n;
	for (size_t i = 0; i < n; i++)
		spread += (x[i] - mean) * (x[i] - mean) / (double)n;
	for (size_t i = 0; i < n; i++)
		y[i] = !map.w ? x[i] : (x[i] - mean) / sqrt(spread + m->config.norm_epsilon) *
		    (one + map.w[i]) + (map.b ? map.b[i] : 0.0);
}

/* Norms of queries or keys: of each head, or of all. */
static void
norm_heads(const struct naive_model *m, double *x, size_t heads, struct map map)
{
	size_t d = m->config.head_dim;

	if (m->config.family->qk_norm == DPO_QK_NORM_ALL)
		norm(m, x, heads * d, map, x);
	for (size_t h = 0; h < heads && m->config.family->qk_norm == DPO_QK_NORM_HEAD; h++)
		norm(m, x + h * d, d, map, x + h * d);
}

static void
rotate(const struct naive_model *m, double *x, size_t heads, size_t position)
{
	size_t d = m->config.head_dim, r = m->config.rope.dim;

	for (size_t h = 0; h < heads && m->config.family->position == DPO_POSITION_ROPE; h++)
		for (size_t i = 0; i < r / 2; i++) {
			double angle = (double)position * pow(m->config.rope.theta,
			    -2.0 * (double)i / (double)r);
			double low = x[h * d + i], high = x[h * d + r / 2 + i];

			x[h * d + i] = low * cos(angle) - high * sin(angle);
			x[h * d + r / 2 + i] = high * cos(angle) + low * sin(angle);
		}
}

static double
capped(double x, double cap)
{
	return cap > 0.0 ? cap * tanh(x / cap) : x;
}

/* out[q] for row `row` from q[q] and keys, values of rows 0 .. row, within the window. */
static void
attend(const struct naive_model *m, const double *q, const double *k, const double *v, size_t row,
    size_t window, double *out)
{
	const struct dpo_config *c = &m->config;
	size_t d = c->head_dim, kv = c->kv_heads * d, group = c->heads / c->kv_heads;
	size_t from = window && row + 1 > window ? row + 1 - window : 0;
	double *p = zeros(row + 1), sum;

	for (size_t h = 0; h < c->heads; h++) {
		size_t at = h / group * d;

		sum = 0.0;
		for (size_t j = from; j <= row; j++) {
			p[j] = 0.0;
			for (size_t i = 0; i < d; i++)
				p[j] += q[h * d + i] * k[j * kv + at + i] / sqrt(c->query_scalar);
			p[j] = exp(capped(p[j], c->attention_cap));
			sum += p[j];
		}
		for (size_t i = 0; i < d; i++) {
			out[h * d + i] = 0.0;
			for (size_t j = from; j <= row; j++)
				out[h * d + i] += p[j] / sum * v[j * kv + at + i];
		}
	}
	free(p);
}

/* Queries, keys and values of one row from h, whatever tensors they come from. */
static void
project(const struct naive_model *m, const struct map maps[3], const double *h, double *q, double *k,
    double *v)
{
	const struct dpo_config *c = &m->config;
	size_t d = c->head_dim, nq = c->heads * d, nkv = c->kv_heads * d;
	double *all = zeros(nq + 2 * nkv), *to[3] = { q, k, v };

	if (maps[1].w) {
		for (size_t i = 0; i < 3; i++)
			linear(m, maps[i], h, c->hidden_size, i ? nkv : nq, to[i]);
		free(all);
		return;
	}
	linear(m, maps[0], h, c->hidden_size, nq + 2 * nkv, all);
	for (size_t i = 0; i < nq + 2 * nkv; i++)
		if (c->family->qkv_by_head)
			to[i / d % 3][i / (3 * d) * d + i % d] = all[i];
		else if (i < nq)
			q[i] = all[i];
		else
			to[1 + (i - nq) / nkv][(i - nq) % nkv] = all[i];
	free(all);
}

/* add[rows][hidden]: what attention adds to x. */
static void
attention(const struct naive_model *m, size_t layer, const double *x, size_t n, double *add)
{
	const struct dpo_config *c = &m->config;
	const struct dpo_names *names = &c->family->names;
	size_t hidden = c->hidden_size, d = c->head_dim, nq = c->heads * d, nkv = c->kv_heads * d;
	double *h = zeros(hidden), *q = zeros(nq), *k = zeros(n * nkv), *v = zeros(n * nkv), *o = zeros(nq);
	struct map before = map_of(m, layer, names->norm1), after = map_of(m, layer, names->post1);
	struct map out = map_of(m, layer, names->o), maps[3], norms[2];

	for (size_t i = 0; i < 3; i++)
		maps[i] = map_of(m, layer, names->qkv[i]);
	for (size_t i = 0; i < 2; i++)
		norms[i] = map_of(m, layer, names->qk_norm[i]);
	for (size_t row = 0; row < n; row++) {
		norm(m, x + row * hidden, hidden, before, h);
		project(m, maps, h, q, k + row * nkv, v + row * nkv);
		norm_heads(m, q, c->heads, norms[0]);
		norm_heads(m, k + row * nkv, c->kv_heads, norms[1]);
		rotate(m, q, c->heads, row);
		rotate(m, k + row * nkv, c->kv_heads, row);
		attend(m, q, k, v, row, dpo_config_window(c, layer), o);
		linear(m, out, o, nq, hidden, add + row * hidden);
		norm(m, add + row * hidden, hidden, after, add + row * hidden);
	}
	free(h);
	free(q);
	free(k);
	free(v);
	free(o);
}

static double
activation(const struct naive_model *m, double x)
{
	switch (m->config.activation) {
	case DPO_ACTIVATION_SILU:
		return x / (1.0 + exp(-x));
	case DPO_ACTIVATION_GELU:
		return 0.5 * x * (1.0 + erf(x / sqrt(2.0)));
	case DPO_ACTIVATION_GELU_TANH:
		return 0.5 * x * (1.0 + tanh(sqrt(2.0 / 3.14159265358979323846) * (x + 0.044715 * x * x * x)));
	default:
		return x > 0.0 ? x : 0.0;
	}
}

/* add[rows][hidden]: what the MLP adds to x. */
static void
mlp(const struct naive_model *m, size_t layer, const double *x, size_t n, double *add)
{
	const struct dpo_names *names = &m->config.family->names;
	size_t hidden = m->config.hidden_size, inner = m->config.intermediate_size;
	bool gated = m->config.family->mlp == DPO_MLP_GATED;
	double *h = zeros(hidden), *a = zeros(2 * inner);
	struct map before = map_of(m, layer, names->norm2), after = map_of(m, layer, names->post2);
	struct map first = map_of(m, layer, names->up[0]), second = map_of(m, layer, names->up[1]);
	struct map down = map_of(m, layer, names->down);

	for (size_t row = 0; row < n; row++) {
		norm(m, x + row * hidden, hidden, before, h);
		linear(m, first, h, hidden, gated && !second.w ? 2 * inner : inner, a);
		if (second.w)
			linear(m, second, h, hidden, inner, a + inner);
		for (size_t i = 0; i < inner; i++)
			a[i] = activation(m, a[i]) * (gated ? a[inner + i] : 1.0);
		linear(m, down, a, inner, hidden, add + row * hidden);
		norm(m, add + row * hidden, hidden, after, add + row * hidden);
	}
	free(h);
	free(a);
}

/* x += attention(x), then x += mlp(x); or both of the same x. */
static void
transform(const struct naive_model *m, size_t layer, double *x, size_t n)
{
	size_t count = n * m->config.hidden_size;
	double *one = zeros(count), *two = zeros(count);

	attention(m, layer, x, n, one);
	if (m->config.parallel_residual)
		mlp(m, layer, x, n, two);
	for (size_t i = 0; i < count; i++)
		x[i] += one[i] + two[i];
	if (!m->config.parallel_residual) {
		mlp(m, layer, x, n, two);
		for (size_t i = 0; i < count; i++)
			x[i] += two[i];
	}
	free(one);
	free(two);
}

void
naive_logits(const struct naive_model *m, const int32_t *tokens, size_t n, double *logits)
{
	const struct dpo_names *names = &m->config.family->names;
	size_t hidden = m->config.hidden_size, vocab = m->config.vocab_size;
	double *x = zeros(n * hidden), *h = zeros(hidden);
	const double *embed = map_of(m, SIZE_MAX, names->tokens).w, *wpe = map_of(m, SIZE_MAX, names->positions).w;
	const double *head = m->config.tied_head ? embed : map_of(m, SIZE_MAX, names->head).w;
	double scale = m->config.family->scaled_embedding ? sqrt((double)hidden) : 1.0;
	struct map last = map_of(m, SIZE_MAX, names->norm);

	for (size_t row = 0; row < n; row++)
		for (size_t i = 0; i < hidden; i++)
			x[row * hidden + i] = scale * embed[(size_t)tokens[row] * hidden + i] + (wpe ?
			    wpe[row * hidden + i] : 0.0);
	for (size_t layer = 0; layer < m->config.layers; layer++)
		transform(m, layer, x, n);
	for (size_t row = 0; row < n; row++) {
		norm(m, x + row * hidden, hidden, last, h);
		for (size_t v = 0; v < vocab; v++) {
			double *z = &logits[row * vocab + v];

			*z = 0.0;
			for (size_t i = 0; i < hidden; i++)
				*z += h[i] * head[v * hidden + i];
			*z = capped(*z, m->config.logit_cap);
		}
	}
	free(x);
	free(h);
}

void
naive_logps(const struct naive_model *m, const struct dpo_example *example, size_t answer,
    double *logps, double *entropies, double *means)
{
	size_t np = example->n_prompt, na = example->n_answer[answer], vocab = m->config.vocab_size;
	int32_t *tokens = dpo_alloc(np + na, sizeof *tokens);
	double *logits = zeros((np + na) * vocab);

	assert_non_null(tokens);
	for (size_t i = 0; i < np + na; i++)
		tokens[i] = i < np ? example->prompt[i] : example->answer[answer][i - np];
	naive_logits(m, tokens, np + na, logits);
	for (size_t t = 0; t < na; t++) {
		double sum = 0.0, mean = 0.0, weighted = 0.0;
		const double *z;

		logps[t] = 0.0;
		if (entropies)
			entropies[t] = means[t] = 0.0;
		if (np + t == 0)
			continue;
		z = logits + (np + t - 1) * vocab;
		for (size_t v = 0; v < vocab; v++) {
			sum += exp(z[v]);
			weighted += exp(z[v]) * z[v];
			mean += z[v] / (double)vocab;
		}
		logps[t] = z[tokens[np + t]] - log(sum);
		if (entropies) {
			entropies[t] = log(sum) - weighted / sum;
			means[t] = mean;
		}
	}
	free(tokens);
	free(logits);
}

double
naive_objective(const struct naive_model *m, const struct dpo_example *example,
    const float *const *d_logps)
{
	double logps[64], sum = 0.0;

	for (size_t a = 0; a < example->n_answers; a++) {
		assert_true(example->n_answer[a] <= 64);
		naive_logps(m, example, a, logps, NULL, NULL);
		for (size_t t = 0; t < example->n_answer[a]; t++)
			sum += (double)d_logps[a][t] * logps[t];
	}
	return sum;
}
