/*
 * step - where the time of a training step goes: GPT-2 124M shape, random weights, 8 pairs a step, AdamW included.
 *
 *	step [THREADS [ROUNDS [HISTORY [fp32|bf16]]]]
 *
 * Measures what the machine can do, then each kind of matrix product at the shapes of the step, then every other part,
 * then the whole step and the reference's pass, in two cases: S, a prompt of 128 tokens with two answers of 128, and L,
 * a prompt of 384. Each figure is the best of ROUNDS. A JSON object of all figures is appended to HISTORY. Run it on a
 * quiet machine, with OPENBLAS_CORETYPE unset.
 *
 * In bf16 the weights stay packed for the products that are measured alone, as they do for all pairs of a step; packing them,
 * once a step, is in the rest.
 *
 * The roofline is the least time that the step could take: its useful products, attention's among them, at the rate of
 * fused multiply-adds, and AdamW's 28 bytes a parameter at the rate of changing memory in place.
 */
#include "base/parallel.h"
#include "decoder/activation.h"
#include "decoder/attention.h"
#include "decoder/head.h"
#include "decoder/norm.h"
#include "kernel/gemm.h"
#include "machine.h"
#include "subject.h"
#include "train/optim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum { PAIRS = 8, PARTS = 32, ANSWER = 128 };

struct bench {
	int threads, rounds;
	struct dpo_model model;
	float *gradients;
	bool bf16;			/* the maps' products */
	double peak, read, change;	/* of the machine: GFLOP/s of products, GB/s */
	FILE *history;			/* NULL if none */
};

/* A part of the step: seconds a pair, and useful operations in it if it is made of products. */
struct part {
	const char *name;
	double seconds, flop;
};

struct trial {			/* one case */
	const struct bench *bench;
	char name;
	struct dpo_sequence sequence;
	struct dpo_example example;
	struct part parts[PARTS];
	size_t n_parts;
};

/* ------------------------------------------------------------------ parts */

static void
add(struct trial *t, const char *name, double seconds, double flop)
{
	subject_check(t->n_parts < PARTS, "too many parts");
	t->parts[t->n_parts++] = (struct part){ name, seconds, flop };
}

/* The best of the trial's rounds of an action on `data`. */
static double
measure(const struct trial *t, void (*action)(void *data), void *data)
{
	double least = 0.0, start;

	for (int i = 0; i < t->bench->rounds + 1; i++) {	/* the first makes caches and buffers */
		start = machine_wall();
		action(data);
		if (i > 0)
			subject_least(&least, machine_wall() - start);
	}
	return least;
}

/* ------------------------------------------------------------------ products */

struct product {
	const struct subject_map *map;
	int threads;
	size_t way;
};

static void
multiply(void *data)
{
	const struct product *p = data;

	(void)subject_map_multiply(p->map, p->threads, p->map->rows, p->way);
}

/* `times` such maps in a pair; seconds of all. */
static double
bench_map(struct trial *t, const char *name, const struct subject_map *map, double times)
{
	size_t in = map->linear.in, out = map->linear.out;
	double flop = 2.0 * (double)map->rows * (double)in * (double)out, seconds, sum = 0.0;

	printf("  %-12s %4zu %6zu %6zu", name, map->rows, in, out);
	for (size_t way = 0; way < SUBJECT_WAYS; way++) {
		seconds = measure(t, multiply, &(struct product){ map, t->bench->threads, way });
		sum += times * seconds;
		printf("  %7.1f (%2.0f%%)", 1e-9 * flop / seconds, 1e-7 * flop / seconds / t->bench->peak);
	}
	printf("\n");
	add(t, name, sum, 3.0 * times * flop);
	return sum;
}

/* A map of the layers, as GPT-2 stores it. */
static void
bench_linear(struct trial *t, const char *name, size_t in, size_t out, double times)
{
	struct subject_map map;

	subject_map_open(&map, DPO_LAYOUT_IN_OUT, t->sequence.rows, in, out, t->bench->bf16);
	bench_map(t, name, &map, times);
	subject_map_close(&map);
}

/* ------------------------------------------------------------------ the parts that are no products */

struct layer {			/* of one layer, and the blocks its parts work on */
	const struct trial *trial;
	struct dpo_norm norm;
	struct dpo_attention attention;
	struct dpo_linear bias;
	float *wide, *d_wide, *narrow, *d_narrow, *stats, *sums, *partial, *scratch;
};

static void
norm_forward(void *data)
{
	const struct layer *l = data;

	dpo_norm_forward(l->trial->bench->threads, &l->norm, l->trial->sequence.rows, l->narrow, l->d_narrow, l->stats);
}

static void
norm_backward(void *data)
{
	const struct layer *l = data;

	dpo_norm_backward(l->trial->bench->threads, &l->norm, l->trial->sequence.rows, l->narrow, l->stats, l->wide, l->d_narrow,
	    l->partial);
}

static void
activation_forward(void *data)
{
	const struct layer *l = data;

	dpo_activation_forward(l->trial->bench->threads, DPO_ACTIVATION_GELU_TANH, DPO_MLP_PLAIN,
	    l->trial->sequence.rows, l->trial->bench->model.config.intermediate_size, l->wide, l->d_wide);
}

static void
activation_backward(void *data)
{
	const struct layer *l = data;
	size_t n = l->trial->bench->model.config.intermediate_size;

	dpo_activation_backward(l->trial->bench->threads, DPO_ACTIVATION_GELU_TANH, DPO_MLP_PLAIN,
	    l->trial->sequence.rows, n, l->wide, l->d_wide, l->d_wide, l->d_wide + n * l->trial->sequence.rows);
}

static void
attention_forward(void *data)
{
	const struct layer *l = data;

	dpo_attention_forward(l->trial->bench->threads, &l->attention, l->wide, l->narrow, l->sums);
}

static void
attention_backward(void *data)
{
	const struct layer *l = data;

	dpo_attention_backward(l->trial->bench->threads, &l->attention, l->wide, l->narrow, l->sums, l->d_narrow,
	    l->d_wide, l->scratch);
}

static void
bias_gradients(void *data)
{
	const struct layer *l = data;

	dpo_linear_backward_weight(l->trial->bench->threads, &l->bias, l->trial->sequence.rows,
	    (struct dpo_matrix){ l->narrow, l->norm.n }, (struct dpo_matrix){ l->wide, l->bias.out });
}

/* Products of a row with the keys that it sees: two forward, five backward (one of them the scores again). */
static double
attention_flop(const struct dpo_sequence *s, const struct dpo_config *config)
{
	double seen = 0.0;

	for (size_t i = 0; i < s->n_segments; i++)
		seen += (double)s->segments[i].rows * ((double)s->segments[i].prefix + 0.5 + 0.5 * (double)s->segments[i].rows);
	return 2.0 * seen * (double)(config->heads * config->head_dim);
}

static void
bench_layers(struct trial *t)
{
	const struct dpo_config *c = &t->bench->model.config;
	size_t rows = t->sequence.rows, hidden = c->hidden_size, inner = c->intermediate_size;
	double layers = (double)c->layers, flop = attention_flop(&t->sequence, c);
	struct layer l = { .trial = t, .attention = dpo_attention_of(&t->sequence, c->heads, c->kv_heads, c->head_dim, false),
	    .wide = subject_filled(rows * inner), .d_wide = subject_filled(2 * rows * inner),
	    .narrow = subject_filled(rows * hidden),
	    .d_narrow = subject_filled(rows * hidden), .stats = subject_filled(rows * 2), .sums = subject_filled(rows * c->heads),
	    .partial = subject_filled(dpo_norm_partial(rows, hidden)),
	    .scratch = subject_filled(rows * dpo_attention_scratch(c->heads, c->kv_heads, c->head_dim)) };
	float *weight = subject_filled(6 * inner);

	l.attention.bf16 = t->bench->bf16;
	l.norm = (struct dpo_norm){ DPO_NORM_LAYER, hidden, 1e-5f, weight, weight + hidden, weight + 2 * hidden,
	    weight + 3 * hidden };
	l.bias = (struct dpo_linear){ .in = hidden, .out = inner, .d_bias = weight + inner };
	add(t, "attention, forward", layers * measure(t, attention_forward, &l), 2.0 * layers * flop);
	add(t, "attention, backward", layers * measure(t, attention_backward, &l), 4.0 * layers * flop);
	add(t, "norms, forward and again", 4.0 * layers * measure(t, norm_forward, &l), 0.0);
	add(t, "norms, backward", 2.0 * layers * measure(t, norm_backward, &l), 0.0);
	add(t, "GELU, forward", layers * measure(t, activation_forward, &l), 0.0);
	add(t, "GELU, backward", layers * measure(t, activation_backward, &l), 0.0);
	/* out + qkv + down's biases are as wide as 5 hidden, up's as 4: together 9/4 of the one measured */
	add(t, "biases, backward", 2.25 * layers * measure(t, bias_gradients, &l), 0.0);
	free(l.wide);
	free(l.d_wide);
	free(l.narrow);
	free(l.d_narrow);
	free(l.stats);
	free(l.sums);
	free(l.partial);
	free(l.scratch);
	free(weight);
}

struct head {
	const struct trial *trial;
	const struct subject_map *map;
	struct dpo_head head;
	struct dpo_head_row *rows;
	float *logps, *d_logps;
};

static void
head_pass(void *data)
{
	const struct head *h = data;
	const struct subject_map *m = h->map;
	int threads = h->trial->bench->threads;

	dpo_head_forward(threads, &h->head, m->x, h->trial->sequence.targets, h->rows, h->logps);
	dpo_head_backward(threads, &h->head, m->x, h->trial->sequence.targets, h->rows, h->d_logps, m->dx, m->d_weight);
}

/* Seconds of the head forward and back on the map. */
static double
time_head(const struct trial *t, const struct subject_map *map)
{
	struct head h = { .trial = t, .map = map, .rows = dpo_alloc(map->rows, sizeof *h.rows),
	    .logps = subject_filled(map->rows * DPO_ANSWERS), .d_logps = subject_filled(map->rows * DPO_ANSWERS) };
	struct dpo_arena arena = { 0 };
	double seconds;

	subject_check(h.rows, "out of memory");
	do {
		dpo_arena_begin(&arena);
		dpo_head_carve(&h.head, &map->linear, map->rows, 0.0f, DPO_HEAD_CHUNK, DPO_HEAD_KEPT, &arena);
	} while (dpo_arena_end(&arena) == DPO_ARENA_AGAIN);
	seconds = measure(t, head_pass, &h);
	dpo_arena_free(&arena);
	free(h.rows);
	free(h.logps);
	free(h.d_logps);
	return seconds;
}

/* Its products, and what it takes beyond them: the softmax, its statistics and its gradient. */
static void
bench_head(struct trial *t)
{
	const struct dpo_config *c = &t->bench->model.config;
	struct subject_map map;
	double seconds;

	subject_map_open(&map, DPO_LAYOUT_OUT_IN, t->sequence.head_rows, c->hidden_size, c->vocab_size, t->bench->bf16);
	seconds = -bench_map(t, "product head", &map, 1.0);
	seconds += time_head(t, &map);
	add(t, "softmax, both ways", seconds > 0.0 ? seconds : 0.0, 0.0);
	subject_map_close(&map);
}

static void
bench_products(struct trial *t)
{
	const struct dpo_config *c = &t->bench->model.config;
	size_t rows = t->sequence.rows, hidden = c->hidden_size, inner = c->intermediate_size;
	double layers = (double)c->layers;
	double wanted = layers - 1.0 + (double)t->sequence.head_rows / (double)rows;	/* the last layer's rows that predict */

	printf("\nCase %c. GFLOP/s and share of the machine's: forward, gradient of input, gradient of weight\n", t->name);
	printf("  product      rows     in    out\n");
	bench_linear(t, "product qkv", hidden, 3 * hidden, layers);
	bench_linear(t, "product o", hidden, hidden, wanted);
	bench_linear(t, "product up", hidden, inner, wanted);
	bench_linear(t, "product down", inner, hidden, wanted);
	bench_head(t);
}

/* ------------------------------------------------------------------ the whole step */

struct step {
	const struct trial *trial;
	struct dpo_scorer *scorer;
	struct dpo_optim optim;
	uint64_t t;
	double norm, update;		/* seconds of the norm and of the update, the least */
};

static void
open_scorer(struct step *s, bool train)
{
	const struct bench *b = s->trial->bench;
	struct dpo_error err;

	subject_check(dpo_scorer_new(&s->scorer, &b->model.config, &b->model.params, b->model.weights,
	    &(struct dpo_passes){ .train = train, .bf16 = b->bf16, .threads = b->threads }, &err) == DPO_OK, err.text);
}

static void
take_step(void *data)
{
	struct step *s = data;
	const struct bench *b = s->trial->bench;
	double start, norm;

	for (int i = 0; i < PAIRS; i++)
		(void)subject_pass(s->scorer, &s->trial->example, b->gradients);
	start = machine_wall();
	norm = dpo_optim_norm(&s->optim, b->gradients);
	subject_least(&s->norm, machine_wall() - start);
	start = machine_wall();
	dpo_optim_step(&s->optim, b->model.weights, b->gradients, ++s->t, 1e-7, dpo_optim_clip(norm, 1.0));
	dpo_scorer_changed(s->scorer);
	subject_least(&s->update, machine_wall() - start);
}

static void
take_pass(void *data)
{
	const struct step *s = data;

	for (int i = 0; i < PAIRS; i++)
		(void)subject_pass(s->scorer, &s->trial->example, NULL);
}

static double
bench_step(struct trial *t, double *cpu)
{
	const struct bench *b = t->bench;
	struct step s = { .trial = t };
	double seconds;

	open_scorer(&s, true);
	subject_optim(&s.optim, &b->model.params, b->threads);
	*cpu = machine_cpu();
	seconds = measure(t, take_step, &s) / PAIRS;
	*cpu = (machine_cpu() - *cpu) / (PAIRS * (double)(b->rounds + 1));
	add(t, "gradient's norm", s.norm / PAIRS, 0.0);
	add(t, "AdamW", s.update / PAIRS, 0.0);
	dpo_optim_free(&s.optim);
	dpo_scorer_free(s.scorer);
	return seconds;
}

static double
bench_reference(const struct trial *t)
{
	struct step s = { .trial = t };
	double seconds;

	open_scorer(&s, false);
	seconds = measure(t, take_pass, &s) / PAIRS;
	dpo_scorer_free(s.scorer);
	return seconds;
}

/* ------------------------------------------------------------------ the report */

static void
report(const struct trial *t, double step, double cpu, double reference)
{
	const struct bench *b = t->bench;
	double products = 0.0, rest = step, flop = 0.0, roofline;
	struct rusage usage;

	printf("\n  %-26s %9s %6s\n", "part", "ms a pair", "share");
	for (size_t i = 0; i < t->n_parts; i++) {
		const struct part *p = &t->parts[i];

		printf("  %-26s %9.2f %5.1f%%", p->name, 1e3 * p->seconds, 100.0 * p->seconds / step);
		if (p->flop > 0.0)
			printf("  %6.1f GFLOP/s", 1e-9 * p->flop / p->seconds);
		printf("\n");
		products += p->flop > 0.0 ? p->seconds : 0.0;
		rest -= p->seconds;
		flop += p->flop;
	}
	roofline = 1e-9 * (flop / b->peak + 28.0 * (double)b->model.params.parameters / b->change / PAIRS);
	getrusage(RUSAGE_SELF, &usage);
	printf("  %-26s %9.2f %5.1f%%\n", "rest", 1e3 * rest, 100.0 * rest / step);
	printf("  %-26s %9.2f  (%.2f of cpu), %.0f%% of it outside products\n", "step", 1e3 * step, 1e3 * cpu,
	    100.0 * (step - products) / step);
	printf("  %-26s %9.2f  %.0f%% reached\n", "roofline", 1e3 * roofline, 100.0 * roofline / step);
	printf("  %-26s %9.2f  %.2f as many pairs\n", "reference's pass", 1e3 * reference, step / reference);
	printf("  %-26s %9.0f  MB\n", "peak memory so far", (double)usage.ru_maxrss / 1024.0);
	if (!b->history)
		return;
	fprintf(b->history, ",\"%c\":{\"step\":%.5f,\"cpu\":%.5f,\"reference\":%.5f,\"roofline\":%.5f,\"parts\":{", t->name, step,
	    cpu, reference, roofline);
	for (size_t i = 0; i < t->n_parts; i++)
		fprintf(b->history, "%s\"%s\":%.6f", i ? "," : "", t->parts[i].name, t->parts[i].seconds);
	fprintf(b->history, "}}");
}

static void
bench_case(const struct bench *b, char name, size_t prompt)
{
	struct trial t = { .bench = b, .name = name, .example = subject_pair(&b->model, prompt, ANSWER) };
	struct dpo_error err;
	double step, cpu, reference;

	subject_check(dpo_pack(&t.sequence, &t.example, b->model.config.vocab_size, b->model.config.max_positions, &err) == DPO_OK,
	    err.text);
	bench_products(&t);
	bench_layers(&t);
	step = bench_step(&t, &cpu);
	reference = bench_reference(&t);
	report(&t, step, cpu, reference);
	dpo_sequence_free(&t.sequence);
}

/* What the machine can do. */
static void
bench_machine(struct bench *b)
{
	const char *kernel = b->bf16 ? dpo_bf16_kernel() : dpo_gemm_kernel();
	double (*peak)(int threads) = b->bf16 ? machine_bf16 : machine_fma;

	b->peak = peak(b->threads);
	b->read = machine_read(b->threads, b->model.weights, b->model.params.total);
	b->change = machine_change(b->threads, b->model.weights, b->model.params.total);
	printf("kernel %s, %d threads, best of %d; machine: %.0f GFLOP/s (%.0f on one thread), memory read %.1f GB/s, "
	    "changed %.1f GB/s\n", kernel, b->threads, b->rounds, b->peak, peak(1), b->read, b->change);
	if (b->history)
		fprintf(b->history, "{\"kernel\":\"%s\",\"threads\":%d,\"rounds\":%d,\"peak\":%.1f,\"read\":%.2f,\"change\":%.2f",
		    kernel, b->threads, b->rounds, b->peak, b->read, b->change);
}

int
main(int argc, char **argv)
{
	struct bench b = { .threads = argc > 1 && atoi(argv[1]) ? atoi(argv[1]) : dpo_parallel_available(),
	    .rounds = argc > 2 ? atoi(argv[2]) : 5, .bf16 = argc > 4 && strcmp(argv[4], "bf16") == 0 };

	subject_begin(argv);
	b.history = argc > 3 ? fopen(argv[3], "a") : NULL;
	subject_check(argc <= 3 || b.history, "the history cannot be written");
	subject_check(!b.bf16 || dpo_bf16_kernel(), "this processor has no instructions for bfloat16");
	b.threads = dpo_gemm_threads(b.threads);
	subject_make(&b.model, &subject_gpt2);
	b.gradients = subject_filled(b.model.params.total);
	bench_machine(&b);
	bench_case(&b, 'S', 128);
	bench_case(&b, 'L', 384);
	if (b.history)
		fprintf(b.history, "}\n");
	dpo_model_free(&b.model);
	free(b.gradients);
	return b.history && fclose(b.history) != 0;
}
