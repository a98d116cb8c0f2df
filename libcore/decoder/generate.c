#include "decoder/generate.h"

#include "base/buffer.h"
#include "base/bytes.h"
#include "base/parallel.h"
#include "base/random.h"
#include "base/size.h"
#include "decoder/cache.h"
#include "decoder/decoder.h"
#include "decoder/linear.h"
#include "decoder/pack.h"
#include "decoder/rope.h"
#include "decoder/skinny.h"
#include "kernel/gemm.h"
#include "kernel/vector.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Completions per active sequence that may be asked for but not yet returned, so that there is a next one to begin. */
enum { AHEAD = 4 };

/* Up to that many weights stay in a core's cache: then threads share out whole sequences, not each product. */
enum { SMALL = 1 << 20 };

/* An active sequence. */
struct slot {
	struct dpo_completion *completion;	/* NULL: free */
	bool fresh;				/* it is not begun */
	struct dpo_cache cache;
	struct dpo_sampler sampler;
	struct dpo_ids seen;			/* prompt and completion, for the repetition penalty */
	float *h;				/* [hidden], of the row that predicts; in generator->hidden */
	const float *logits;			/* of the current step */
	int32_t token;				/* chosen in the current step */
	float logp;
};

/* The prompt that a worker computed last. */
struct prompt {
	bool there;
	uint64_t row;
	struct dpo_cache cache;
	struct dpo_sequence sequence;
	float *h;				/* owned; [hidden] */
};

/* Computes some of the active sequences: all of them, unless the model is small. */
struct worker {
	struct dpo_decoder *decoder;		/* owned */
	struct prompt prompt;
	/* of the current step */
	size_t first, n;			/* of at_work */
	enum dpo_status status;
	struct dpo_error err;
};

struct dpo_generator {
	const struct dpo_config *config;
	const float *weights;
	const struct dpo_generate_settings *settings;
	int threads;				/* of a worker */
	struct worker *workers;			/* owned; [n_workers] */
	size_t n_workers;
	struct dpo_completion *ring;		/* owned; [window] */
	size_t window, first, asked, begun;	/* first: the oldest; counts from there */
	struct slot *slots;			/* owned; [batch] */
	size_t batch;
	float *hidden, *rows, *logits;		/* owned; [batch] rows each */
	/* of the current step; owned; [batch] */
	struct slot **at_work;
	size_t n_at_work;
	struct dpo_cache **caches;
	int32_t *tokens;
};

/* ------------------------------------------------------------------ making */

static bool
allocate(struct dpo_generator *g)
{
	size_t hidden = g->config->hidden_size, vocab = g->config->vocab_size, n;
	bool fits = dpo_size_mul(g->batch, AHEAD, &g->window) && dpo_size_mul(g->batch, hidden, &n);

	if (!fits || !(g->hidden = dpo_alloc_aligned(n, sizeof *g->hidden)) ||
	    !(g->rows = dpo_alloc_aligned(n, sizeof *g->rows)) || !dpo_size_mul(g->batch, vocab, &n) ||
	    !(g->logits = dpo_alloc_aligned(n, sizeof *g->logits)) ||
	    !(g->ring = dpo_alloc(g->window, sizeof *g->ring)) || !(g->slots = dpo_alloc(g->batch, sizeof *g->slots)) ||
	    !(g->at_work = dpo_alloc(g->batch, sizeof(struct slot *))) ||
	    !(g->caches = dpo_alloc(g->batch, sizeof(struct dpo_cache *))) ||
	    !(g->tokens = dpo_alloc(g->batch, sizeof *g->tokens)) || !(g->workers = dpo_alloc(g->n_workers, sizeof *g->workers)))
		return false;
	for (size_t i = 0; i < g->n_workers; i++)
		if (!(g->workers[i].prompt.h = dpo_alloc_aligned(hidden, sizeof(float))))
			return false;
	for (size_t i = 0; i < g->batch; i++) {
		g->slots[i].h = g->hidden + i * hidden;
		if (!dpo_sampler_init(&g->slots[i].sampler, vocab))
			return false;
	}
	return true;
}

static bool
fits_a_cache(const struct dpo_params *params)
{
	return params->parameters <= SMALL;
}

size_t
dpo_generator_workers(const struct dpo_params *params, size_t batch, int threads)
{
	return fits_a_cache(params) && threads > 1 ? dpo_size_least((size_t)threads, batch) : 1;
}

enum dpo_status
dpo_generator_new(struct dpo_generator **generator, const struct dpo_config *config, const struct dpo_params *params,
    const float *weights, const struct dpo_lora *lora, const struct dpo_generate_settings *settings, size_t batch, int threads,
    struct dpo_error *err)
{
	struct dpo_generator *g = dpo_alloc(1, sizeof *g);
	enum dpo_status status;

	assert(batch > 0 && settings->max_tokens > 0);
	*generator = NULL;
	if (!g)
		return dpo_fail_memory(err);
	g->config = config;
	g->weights = weights;
	g->settings = settings;
	g->batch = batch;
	g->threads = dpo_gemm_threads(threads);
	g->n_workers = dpo_generator_workers(params, batch, g->threads);
	if (fits_a_cache(params))
		g->threads = 1;
	status = allocate(g) ? DPO_OK : dpo_fail_memory(err);
	for (size_t i = 0; i < g->n_workers && status == DPO_OK; i++)
		status = dpo_decoder_new(&g->workers[i].decoder, config, params,
		    &(struct dpo_passes){ .lora = lora, .threads = g->threads }, err);
	if (status != DPO_OK)
		dpo_generator_free(g);
	else
		*generator = g;
	return status;
}

static void
free_completion(struct dpo_completion *completion)
{
	free(completion->prompt.ids);
	free(completion->purpose);
	free(completion->note);
	free(completion->tokens.ids);
	free(completion->logps);
}

void
dpo_generator_free(struct dpo_generator *generator)
{
	struct dpo_generator *g = generator;

	if (!g)
		return;
	for (size_t i = 0; g->ring && i < g->window; i++)
		free_completion(&g->ring[i]);
	for (size_t i = 0; g->slots && i < g->batch; i++) {
		dpo_cache_free(&g->slots[i].cache);
		dpo_sampler_free(&g->slots[i].sampler);
		free(g->slots[i].seen.ids);
	}
	for (size_t i = 0; g->workers && i < g->n_workers; i++) {
		dpo_cache_free(&g->workers[i].prompt.cache);
		dpo_sequence_free(&g->workers[i].prompt.sequence);
		free(g->workers[i].prompt.h);
		dpo_decoder_free(g->workers[i].decoder);
	}
	free(g->workers);
	free(g->ring);
	free(g->slots);
	free(g->hidden);
	free(g->rows);
	free(g->logits);
	free(g->at_work);
	free(g->caches);
	free(g->tokens);
	free(g);
}

/* ------------------------------------------------------------------ asking */

size_t
dpo_generator_room(const struct dpo_generator *generator)
{
	/* One sequence at a time needs none waiting: each is handed out before the next is asked for. */
	return (generator->batch == 1 ? 1 : generator->window) - generator->asked;
}

static bool
copy_ids(struct dpo_ids *to, const struct dpo_ids *from)
{
	to->count = 0;
	for (size_t i = 0; i < from->count; i++)
		if (!dpo_ids_add(to, from->ids[i]))
			return false;
	return true;
}

size_t
dpo_generator_positions(const struct dpo_generator *generator)
{
	return dpo_size_least(dpo_rope_steady(&generator->config->rope), generator->config->max_positions);
}

enum dpo_status
dpo_generator_ask(struct dpo_generator *generator, uint64_t row, const struct dpo_ids *prompt, const char *key,
    size_t sample, const char *note, struct dpo_error *err)
{
	struct dpo_generator *g = generator;
	struct dpo_completion *c = &g->ring[(g->first + g->asked) % g->window];
	struct dpo_buffer purpose = { 0 };
	bool failed;

	assert(dpo_generator_room(g) > 0);
	if (prompt->count == 0)
		return dpo_fail(err, DPO_FORMAT, "the prompt has no tokens");
	for (size_t i = 0; i < prompt->count; i++)
		if (prompt->ids[i] < 0 || (size_t)prompt->ids[i] >= g->config->vocab_size)
			return dpo_fail(err, DPO_FORMAT, "the prompt's token %zu is %" PRId32
			    ", the model's vocabulary has %zu", i, prompt->ids[i], g->config->vocab_size);
	if (prompt->count >= dpo_generator_positions(g))
		return dpo_fail(err, DPO_FORMAT, "the prompt has %zu tokens, the model has %zu positions", prompt->count,
		    dpo_generator_positions(g));
	dpo_buffer_printf(&purpose, "generate %zu %s", sample, key);
	free(c->purpose);
	c->purpose = dpo_size_copy(dpo_buffer_text(&purpose), purpose.len);
	failed = purpose.failed || !c->purpose;
	c->key = failed ? NULL : c->purpose + purpose.len - strlen(key);
	dpo_buffer_free(&purpose);
	free(c->note);
	c->note = dpo_size_copy(note, strlen(note));
	if (failed || !c->note || !copy_ids(&c->prompt, prompt))
		return dpo_fail_memory(err);
	c->row = row;
	c->sample = sample;
	c->tokens.count = 0;
	c->finish = DPO_FINISH_NOT;
	g->asked++;
	return DPO_OK;
}

/* ------------------------------------------------------------------ beginning */

/* Compute the prompt, unless it is the current one. */
static enum dpo_status
compute_prompt(const struct dpo_generator *g, struct worker *worker, const struct dpo_completion *c)
{
	struct prompt *p = &worker->prompt;
	/* The answer of one token has no row of its own; its value is not looked at. */
	struct dpo_example example = { .prompt = c->prompt.ids, .n_prompt = c->prompt.count, .n_answers = 1,
	    .answer = { c->prompt.ids }, .n_answer = { 1 } };
	enum dpo_status status;
	const float *h;

	if (p->there && p->row == c->row)
		return DPO_OK;
	p->there = false;
	if ((status = dpo_pack(&p->sequence, &example, g->config->vocab_size, g->config->max_positions, &worker->err)) != DPO_OK ||
	    (status = dpo_decoder_prefill(worker->decoder, g->weights, &p->sequence, &p->cache, c->prompt.count, &h,
	    &worker->err)) != DPO_OK)
		return status;
	memcpy(p->h, h, g->config->hidden_size * sizeof *h);
	p->row = c->row;
	p->there = true;
	return DPO_OK;
}

/* Tokens the completion may have. */
static size_t
limit(const struct dpo_generator *g, const struct dpo_completion *c)
{
	size_t left = dpo_generator_positions(g) - c->prompt.count;

	return left < g->settings->max_tokens ? left : g->settings->max_tokens;
}

static enum dpo_status
begin(const struct dpo_generator *g, struct worker *worker, struct slot *slot)
{
	const struct dpo_completion *c = slot->completion;
	enum dpo_status status = compute_prompt(g, worker, c);
	const struct dpo_cache *from = &worker->prompt.cache;

	/* The last token is predicted from the one before it: it needs no position of its own. */
	if (status != DPO_OK || (status = dpo_cache_reserve(&slot->cache, from->layers, from->width,
	    c->prompt.count + limit(g, c) - 1, &worker->err)) != DPO_OK)
		return status;
	dpo_cache_copy(&slot->cache, from);
	memcpy(slot->h, worker->prompt.h, g->config->hidden_size * sizeof *slot->h);
	if (!copy_ids(&slot->seen, &c->prompt))
		return dpo_fail_memory(&worker->err);
	slot->fresh = false;
	return DPO_OK;
}

/* Free slots take what was asked for and is not begun; returns the number of active slots. */
static size_t
fill_slots(struct dpo_generator *g)
{
	size_t n = 0;

	for (size_t i = 0; i < g->batch; i++) {
		struct slot *slot = &g->slots[i];

		if (!slot->completion && g->begun < g->asked) {
			slot->completion = &g->ring[(g->first + g->begun++) % g->window];
			slot->fresh = true;
		}
		if (slot->completion)
			g->at_work[n++] = slot;
	}
	return n;
}

/* ------------------------------------------------------------------ a step */

/* The sequences of a worker that are begun take their last token. */
static enum dpo_status
advance(struct dpo_generator *g, struct worker *worker)
{
	struct slot **at_work = g->at_work + worker->first;
	struct dpo_cache **caches = g->caches + worker->first;
	size_t hidden = g->config->hidden_size, rows = 0;
	int32_t *tokens = g->tokens + worker->first;
	enum dpo_status status;
	const float *h;

	for (size_t i = 0; i < worker->n; i++)
		if (!at_work[i]->fresh) {
			caches[rows] = &at_work[i]->cache;
			tokens[rows++] = at_work[i]->token;
		}
	if (rows == 0)
		return DPO_OK;
	if ((status = dpo_decoder_step(worker->decoder, g->weights, tokens, caches, rows, &h, &worker->err)) != DPO_OK)
		return status;
	for (size_t i = 0; i < worker->n; i++)
		if (!at_work[i]->fresh) {
			memcpy(at_work[i]->h, h, hidden * sizeof *h);
			h += hidden;
		}
	return DPO_OK;
}

/* Those that are not. */
static enum dpo_status
begin_fresh(const struct dpo_generator *g, struct worker *worker)
{
	for (size_t i = 0; i < worker->n; i++) {
		struct slot *slot = g->at_work[worker->first + i];

		if (slot->fresh && begin(g, worker, slot) != DPO_OK)
			return dpo_completion_blame(slot->completion, &worker->err);
	}
	return DPO_OK;
}

static void
predict(struct dpo_generator *g, const struct worker *worker)
{
	struct dpo_linear head = dpo_decoder_head(worker->decoder, g->weights, NULL);
	float *rows = g->rows + worker->first * head.in, *logits = g->logits + worker->first * head.out;

	for (size_t i = 0; i < worker->n; i++) {
		struct slot *slot = g->at_work[worker->first + i];

		memcpy(rows + i * head.in, slot->h, head.in * sizeof *rows);
		slot->logits = logits + i * head.out;
	}
	dpo_skinny_forward(dpo_cpu(), g->threads, &head, worker->n, (struct dpo_matrix){ rows, head.in },
	    (struct dpo_matrix){ 0 }, (struct dpo_matrix){ logits, head.out });
	if (g->config->logit_cap > 0)
		dpo_vector_cap(logits, (float)g->config->logit_cap, worker->n * head.out);
}

/* A number in [0, 1) for the next token of a completion. */
static double
draw(const struct dpo_generator *g, const struct dpo_completion *c)
{
	uint8_t raw[8];

	dpo_random_bytes(raw, sizeof raw, c->purpose, g->settings->seed, c->tokens.count);
	return (double)(dpo_bytes_load64(raw) >> 11) * 0x1p-53;
}

static void
choose(void *context, size_t item)
{
	const struct dpo_generator *g = context;
	struct slot *slot = g->at_work[item];
	double sum = dpo_sampler_log_sum(&slot->sampler, slot->logits);

	slot->logp = NAN;
	if (!isfinite(sum))
		return;
	dpo_sampler_weigh(&slot->sampler, &g->settings->sampling, slot->logits, slot->seen.ids, slot->seen.count);
	slot->token = dpo_sampler_draw(&slot->sampler, draw(g, slot->completion));
	slot->logp = (float)((double)slot->logits[slot->token] - sum);
}

static bool
is_eos(const struct dpo_generate_settings *settings, int32_t token)
{
	for (size_t i = 0; i < settings->n_eos; i++)
		if (settings->eos[i] == token)
			return true;
	return false;
}

static enum dpo_status
finish(const struct dpo_generator *g, struct dpo_completion *c, struct dpo_error *err)
{
	const struct dpo_generate_settings *settings = g->settings;
	enum dpo_status status;
	bool stop = false;

	if (is_eos(settings, c->tokens.ids[c->tokens.count - 1])) {
		c->finish = DPO_FINISH_EOS;
		return DPO_OK;
	}
	if (settings->stops &&
	    (status = settings->stops(settings->context, &c->prompt, &c->tokens, &stop, err)) != DPO_OK)
		return status;
	if (stop)
		c->finish = DPO_FINISH_STOP;
	else if (c->tokens.count == limit(g, c))
		c->finish = DPO_FINISH_LENGTH;
	return DPO_OK;
}

/* The chosen token joins its completion. */
static enum dpo_status
accept(const struct dpo_generator *g, struct slot *slot, struct dpo_error *err)
{
	struct dpo_completion *c = slot->completion;
	void *logps = c->logps;
	enum dpo_status status;
	bool fits;

	if (!isfinite(slot->logp))
		return dpo_fail(err, DPO_NONFINITE, "the logits of token %zu are not finite", c->tokens.count);
	fits = dpo_size_grow(&logps, &c->logps_capacity, c->tokens.count + 1, sizeof *c->logps);
	c->logps = logps;
	if (!fits)
		return dpo_fail_memory(err);
	c->logps[c->tokens.count] = slot->logp;
	if (!dpo_ids_add(&c->tokens, slot->token) || !dpo_ids_add(&slot->seen, slot->token))
		return dpo_fail_memory(err);
	status = finish(g, c, err);
	if (c->finish != DPO_FINISH_NOT)
		slot->completion = NULL;
	return status;
}

/* One more token for the sequences of a worker: an equal share of the active ones. */
static void
step_worker(void *context, size_t item)
{
	struct dpo_generator *g = context;
	struct worker *worker = &g->workers[item];

	worker->first = item * g->n_at_work / g->n_workers;
	worker->n = (item + 1) * g->n_at_work / g->n_workers - worker->first;
	if ((worker->status = advance(g, worker)) != DPO_OK || (worker->status = begin_fresh(g, worker)) != DPO_OK ||
	    worker->n == 0)
		return;
	predict(g, worker);
	if (g->n_workers == 1)
		dpo_parallel_for(worker->n * g->config->vocab_size < 16384 ? 1 : g->threads, worker->n, choose, g);
	else
		for (size_t i = 0; i < worker->n; i++)
			choose(g, worker->first + i);
}

/* One more token for all active sequences. */
static enum dpo_status
step(struct dpo_generator *g, struct dpo_error *err)
{
	g->n_at_work = fill_slots(g);
	dpo_parallel_for((int)dpo_size_least(g->n_workers, g->n_at_work), g->n_workers, step_worker, g);
	for (size_t i = 0; i < g->n_workers; i++)
		if (g->workers[i].status != DPO_OK) {
			if (err)
				*err = g->workers[i].err;
			return g->workers[i].status;
		}
	for (size_t i = 0; i < g->n_at_work; i++) {
		const struct dpo_completion *c = g->at_work[i]->completion;

		if (accept(g, g->at_work[i], err) != DPO_OK)
			return dpo_completion_blame(c, err);
	}
	return DPO_OK;
}

enum dpo_status
dpo_generator_next(struct dpo_generator *generator, const struct dpo_completion **completion, struct dpo_error *err)
{
	struct dpo_generator *g = generator;
	enum dpo_status status = DPO_OK;

	if (g->asked == 0)
		return DPO_END;
	while (g->ring[g->first].finish == DPO_FINISH_NOT)
		if ((status = step(g, err)) != DPO_OK)
			return status;
	*completion = &g->ring[g->first];
	g->first = (g->first + 1) % g->window;
	g->asked--;
	g->begun--;
	return DPO_OK;
}

enum dpo_status
dpo_completion_blame(const struct dpo_completion *completion, struct dpo_error *err)
{
	return dpo_error_prefix(err, "row \"%.60s\", sample %zu", completion->key, completion->sample);
}
