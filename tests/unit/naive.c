#include "naive.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

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

/* A weight and its bias (NULL if there is none). */
struct map {
	const double *w, *b;
};

static bool
is_gpt2(const struct naive_model *m)
{
	return m->config.family->position == DPO_POSITION_LEARNED;
}

static struct map
map_of(const struct naive_model *m, size_t layer, const char *gpt2, const char *llama)
{
	const char *before = is_gpt2(m) ? "transformer.h" : "model.layers",
	    *name = is_gpt2(m) ? gpt2 : llama;
	char weight[64], bias[64];

	snprintf(weight, sizeof weight, "%s.weight", name);
	snprintf(bias, sizeof bias, "%s.bias", name);
	return (struct map){ tensor(m, before, layer, weight), tensor(m, before, layer, bias) };
}

/*
 * y[out] = W x + b; W stored (in,out) for GPT-2, (out,in) otherwise. `first` and `width`: part of a
 * fused GPT-2 map.
 */
static void
linear(const struct naive_model *m, struct map map, const double *x, size_t in, size_t first,
    size_t width, size_t out, double *y)
{
	bool in_out = is_gpt2(m);

	for (size_t o = 0; o < out; o++) {
		y[o] = map.b ? map.b[first + o] : 0.0;
		for (size_t i = 0; i < in; i++)
			y[o] += x[i] * (in_out ? map.w[i * width + first + o] :
			    map.w[(first + o) * in + i]);
	}
}

static void
norm(const struct naive_model *m, const double *x, struct map map, double *y)
{
	size_t n = m->config.hidden_size;
	double mean = 0.0, spread = 0.0;

	for (size_t i = 0; i < n && is_gpt2(m); i++)
		mean += x[i] / (double)n;
	for (size_t i = 0; i < n; i++)
		spread += (x[i] - mean) * (x[i] - mean) / (double)n;
	for (size_t i = 0; i < n; i++)
		y[i] = (x[i] - mean) / sqrt(spread + m->config.norm_epsilon) * map.w[i] + (map.b ?
		    map.b[i] : 0.0);
}

static void
rotate(const struct naive_model *m, double *x, size_t heads, size_t position)
{
	size_t d = m->config.head_dim;

	for (size_t h = 0; h < heads; h++)
		for (size_t i = 0; i < d / 2; i++) {
			double angle = (double)position * pow(m->config.rope_theta,
			    -2.0 * (double)i / (double)d);
			double low = x[h * d + i], high = x[h * d + d / 2 + i];

			x[h * d + i] = low * cos(angle) - high * sin(angle);
			x[h * d + d / 2 + i] = high * cos(angle) + low * sin(angle);
		}
}

/* out[q] for row `row` from q[q] and keys, values of rows 0 .. row. */
static void
attend(const struct naive_model *m, const double *q, const double *k, const double *v, size_t row,
    double *out)
{
	size_t d = m->config.head_dim, kv = m->config.kv_heads * d,
	    group = m->config.heads / m->config.kv_heads;
	double *p = zeros(row + 1), sum;

	for (size_t h = 0; h < m->config.heads; h++) {
		size_t at = h / group * d;

		sum = 0.0;
		for (size_t j = 0; j <= row; j++) {
			p[j] = 0.0;
			for (size_t i = 0; i < d; i++)
				p[j] += q[h * d + i] * k[j * kv + at + i] / sqrt((double)d);
			p[j] = exp(p[j]);
			sum += p[j];
		}
		for (size_t i = 0; i < d; i++) {
			out[h * d + i] = 0.0;
			for (size_t j = 0; j <= row; j++)
				out[h * d + i] += p[j] / sum * v[j * kv + at + i];
		}
	}
	free(p);
}

static void
attention(const struct naive_model *m, size_t layer, double *x, size_t n)
{
	size_t hidden = m->config.hidden_size, d = m->config.head_dim, nq = m->config.heads * d,
	    nkv = m->config.kv_heads * d;
	double *h = zeros(hidden), *q = zeros(n * nq), *k = zeros(n * nkv), *v = zeros(n * nkv),
	    *o = zeros(nq);
	struct map before = map_of(m, layer, "ln_1", "input_layernorm");
	struct map out = map_of(m, layer, "attn.c_proj", "self_attn.o_proj");
	struct map maps[3] = { map_of(m, layer, "attn.c_attn", "self_attn.q_proj"),
	    map_of(m, layer, "attn.c_attn", "self_attn.k_proj"), map_of(m, layer, "attn.c_attn",
	    "self_attn.v_proj") };
	size_t widths[3] = { nq, nkv, nkv }, all = nq + 2 * nkv;

	for (size_t row = 0; row < n; row++) {
		double *to[3] = { q + row * nq, k + row * nkv, v + row * nkv };
		size_t first = 0;

		norm(m, x + row * hidden, before, h);
		for (size_t i = 0; i < 3; i++) {
			linear(m, maps[i], h, hidden, is_gpt2(m) ? first : 0, all, widths[i],
			    to[i]);
			first += widths[i];
		}
		if (!is_gpt2(m)) {
			rotate(m, q + row * nq, m->config.heads, row);
			rotate(m, k + row * nkv, m->config.kv_heads, row);
		}
		attend(m, q + row * nq, k, v, row, o);
		linear(m, out, o, nq, 0, hidden, hidden, h);
		for (size_t i = 0; i < hidden; i++)
			x[row * hidden + i] += h[i];
	}
	free(h);
	free(q);
	free(k);
	free(v);
	free(o);
}

static void
mlp(const struct naive_model *m, size_t layer, double *x, size_t n)
{
	size_t hidden = m->config.hidden_size, inner = m->config.intermediate_size;
	double *h = zeros(hidden), *a = zeros(inner), *b = zeros(inner);
	struct map before = map_of(m, layer, "ln_2", "post_attention_layernorm");
	struct map gate = map_of(m, layer, "mlp.c_fc", "mlp.gate_proj"),
	    up = map_of(m, layer, "", "mlp.up_proj");
	struct map down = map_of(m, layer, "mlp.c_proj", "mlp.down_proj");

	for (size_t row = 0; row < n; row++) {
		norm(m, x + row * hidden, before, h);
		linear(m, gate, h, hidden, 0, inner, inner, a);
		if (!is_gpt2(m))
			linear(m, up, h, hidden, 0, inner, inner, b);
		for (size_t i = 0; i < inner; i++)
			a[i] = !is_gpt2(m) ? a[i] / (1.0 + exp(-a[i])) * b[i] :
			    0.5 * a[i] * (1.0 + tanh(sqrt(2.0 / 3.14159265358979323846) * (a[i] +
			    0.044715 * a[i] * a[i] * a[i])));
		linear(m, down, a, inner, 0, hidden, hidden, h);
		for (size_t i = 0; i < hidden; i++)
			x[row * hidden + i] += h[i];
	}
	free(h);
	free(a);
	free(b);
}

void
naive_logits(const struct naive_model *m, const int32_t *tokens, size_t n, double *logits)
{
	size_t hidden = m->config.hidden_size, vocab = m->config.vocab_size;
	double *x = zeros(n * hidden), *h = zeros(hidden);
	const double *embed = tensor(m, is_gpt2(m) ? "transformer.wte" : "model.embed_tokens",
	    SIZE_MAX, ".weight");
	const double *wpe = tensor(m, "transformer.wpe", SIZE_MAX, ".weight");
	const double *head = m->config.tied_head ? embed : tensor(m, "lm_head", SIZE_MAX,
	    ".weight");
	const char *name = is_gpt2(m) ? "transformer.ln_f" : "model.norm";
	struct map last = { tensor(m, name, SIZE_MAX, ".weight"), tensor(m, name, SIZE_MAX,
	    ".bias") };

	for (size_t row = 0; row < n; row++)
		for (size_t i = 0; i < hidden; i++)
			x[row * hidden + i] = embed[(size_t)tokens[row] * hidden + i] + (wpe ?
			    wpe[row * hidden + i] : 0.0);
	for (size_t layer = 0; layer < m->config.layers; layer++) {
		attention(m, layer, x, n);
		mlp(m, layer, x, n);
	}
	for (size_t row = 0; row < n; row++) {
		norm(m, x + row * hidden, last, h);
		for (size_t v = 0; v < vocab; v++) {
			logits[row * vocab + v] = 0.0;
			for (size_t i = 0; i < hidden; i++)
				logits[row * vocab + v] += h[i] * head[v * hidden + i];
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
