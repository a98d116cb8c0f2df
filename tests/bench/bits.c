/*
 * bits - what it costs that bits do not depend on company (batch, neighbours, threads, the compiler's choice of lanes), GPT-2
 * 124M shape: our forms beside the fastest ones without the promise, in turn. The others are here only.
 *
 *	bits [THREADS [ROUNDS [fp32|bf16 [S|L]]]]
 *
 * In two cases: S, a pair of 128 + 2 x 128 tokens, and L, one of 384 + 2 x 128; 8 pairs a step. Given up for the promise are:
 *
 *	maps, head	products of each pair alone. The other form: one product of all 8 pairs' rows, forward, for the input's
 *			gradient and for the weight's; in fp32 by the kernel that is at hand or by OpenBLAS on its own threads,
 *			whichever is faster. That the activations of 8 pairs would have to be kept costs it nothing here. Where
 *			the kernel is our own a row's bits do not depend on the other rows, so that of the three only the order
 *			of a weight's gradient is given up for bits; the other two cost that memory does not grow with the batch.
 *	softmax		a row's sums in 16 lanes and in runs. The other form: as many lanes as the compiler likes.
 *	norms		sums in 16 lanes; gradients of weights summed by 32 rows, then in order. The other form: the compiler's
 *			lanes, one sum a thread.
 *	gradient's norm	sums in 16 lanes of doubles, then in the tensors' order. The other form: one sum a thread.
 *
 * The last lines are of what bits alone cost there, of what it costs to take pairs one at a time, and of both. Nothing else
 * differs from the fastest form: kernels cut the inner index where it is fastest, attention's items are heads and a sum of a
 * bias is a thread's own. Each figure is the least of ROUNDS; a part that is faster as it is counts as no cost.
 */
#include "base/parallel.h"
#include "base/size.h"
#include "decoder/head.h"
#include "decoder/linear.h"
#include "decoder/norm.h"
#include "kernel/bf16.h"
#include "kernel/exponential.h"
#include "kernel/gemm.h"
#include "kernel/vector.h"
#include "machine.h"
#include "subject.h"
#include "train/optim.h"

#include <cblas.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PAIRS = 8, ANSWER = 128, HIDDEN = 768, LAYERS = 12, VOCAB = 50257, NORMS = 2 * LAYERS + 1 };

struct setting {
	int threads, rounds;
	bool bf16;
	size_t rows, head_rows;		/* of a pair */
};

/* Seconds of a step. */
struct cost {
	double ours, other;
};

static struct dpo_matrix
rows_of(float *data, size_t ld)
{
	return (struct dpo_matrix){ data, ld };
}

/* ------------------------------------------------------------------ products */

/* Seconds of one way of all rows by OpenBLAS. */
static double
products_blas(const struct subject_map *m, size_t way)
{
	int in = (int)m->linear.in, out = (int)m->linear.out, rows = (int)m->rows;
	double start = machine_wall();

	if (way == 0)
		cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, rows, out, in, 1.0f, m->x, in, m->weight, in, 0.0f, m->y, out);
	else if (way == 1)
		cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, rows, in, out, 1.0f, m->y, out, m->weight, in, 0.0f, m->dx,
		    in);
	else
		cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, out, in, rows, 1.0f, m->y, out, m->x, in, 1.0f, m->d_weight,
		    in);
	return machine_wall() - start;
}

/* `times` such maps. */
static void
add_products(struct cost *cost, const struct setting *s, size_t in, size_t out, size_t rows, double times)
{
	struct cost one[SUBJECT_WAYS] = { { 0 } };
	struct subject_map m;

	subject_map_open(&m, DPO_LAYOUT_OUT_IN, PAIRS * rows, in, out, s->bf16);
	for (int round = 0; round <= 2 * s->rounds; round++)
		for (size_t way = 0; way < SUBJECT_WAYS; way++) {
			double ours = subject_map_multiply(&m, s->threads, rows, way);
			double other = subject_map_multiply(&m, s->threads, m.rows, way);

			if (round > 0) {	/* the first packs and fills the caches */
				subject_least(&one[way].ours, ours);
				subject_least(&one[way].other, other);
			}
		}
	openblas_set_num_threads(s->threads);
	for (int round = 0; round <= s->rounds && !s->bf16; round++)	/* not in turn: its threads spin for a while */
		for (size_t way = 0; way < SUBJECT_WAYS; way++)
			subject_least(&one[way].other, products_blas(&m, way));
	openblas_set_num_threads(1);
	subject_map_close(&m);
	for (size_t way = 0; way < SUBJECT_WAYS; way++) {
		cost[way].ours += times * one[way].ours;
		cost[way].other += times * one[way].other;
	}
}

/* ------------------------------------------------------------------ softmax */

struct logits {
	struct dpo_head head;
	struct dpo_arena arena;
	float *h, *weight, *logps;
	int32_t *targets;
	struct dpo_head_row *results;
};

/* A row as head.c sums it, but for the lanes. */
DPO_WIDE static void
sum_row(void *context, size_t row)
{
	const struct logits *l = context;
	const float *z = l->head.logits + row * VOCAB;
	float most = -FLT_MAX, all = 0, weighted = 0, squares = 0, total = 0;

#pragma omp simd reduction(max : most)
	for (size_t i = 0; i < VOCAB; i++)
		most = z[i] > most ? z[i] : most;
#pragma omp simd reduction(+ : all, weighted, squares, total)
	for (size_t i = 0; i < VOCAB; i++) {
		float shifted = z[i] - most, e = dpo_exp(shifted);

		all += e;
		weighted += e * shifted;
		squares += e * e;
		total += z[i];
	}
	l->results[row] = (struct dpo_head_row){ .most = most, .sum = (double)all, .entropy = (double)weighted,
		.log_squares = (double)squares, .mean = (double)total };
}

/* A head of one input, whose product, which is no more than writing the logits, is subtracted. */
static struct cost
softmax(const struct setting *s)
{
	struct logits l = { .h = subject_filled(s->head_rows), .weight = subject_filled(VOCAB),
	    .logps = subject_filled(DPO_ANSWERS * s->head_rows), .targets = dpo_alloc(DPO_ANSWERS * s->head_rows, sizeof(int32_t)),
		.results = dpo_alloc(s->head_rows, sizeof(struct dpo_head_row)) };
	struct dpo_linear linear = { .in = 1, .out = VOCAB, .layout = DPO_LAYOUT_OUT_IN, .weight = l.weight };
	double ours = 0, other = 0, product = 0, start;

	subject_check(l.targets && l.results, "out of memory");
	do {
		dpo_arena_begin(&l.arena);
		dpo_head_carve(&l.head, &linear, s->head_rows, 0.0f, DPO_HEAD_CHUNK, DPO_HEAD_KEPT, &l.arena);
	} while (dpo_arena_end(&l.arena) == DPO_ARENA_AGAIN);
	for (int round = 0; round <= s->rounds; round++) {
		start = machine_wall();
		dpo_head_forward(s->threads, &l.head, l.h, l.targets, l.results, l.logps);
		subject_least(&ours, machine_wall() - start);
		start = machine_wall();
		dpo_linear_forward(s->threads, &linear, s->head_rows, rows_of(l.h, 1), (struct dpo_matrix){ 0 },
		    rows_of(l.head.logits, VOCAB));
		subject_least(&product, machine_wall() - start);
		start = machine_wall();
		dpo_parallel_for(s->threads, s->head_rows, sum_row, &l);
		subject_least(&other, machine_wall() - start);
	}
	free(l.h);
	free(l.weight);
	free(l.logps);
	free(l.targets);
	free(l.results);
	dpo_arena_free(&l.arena);
	return (struct cost){ PAIRS * (ours - product), PAIRS * other };
}

/* ------------------------------------------------------------------ norms */

struct normed {
	struct dpo_norm norm;
	size_t rows;
	float *x, *y, *dy, *dx, *stats, *partial;
	size_t shares;
};

/* Of rows first to end: as norm.c does, but for the lanes. */
DPO_WIDE static void
norm_rows(const struct normed *m, size_t first, size_t end, float *d_weight, float *d_bias)
{
	for (size_t row = first; row < end; row++) {
		const float *x = m->x + row * HIDDEN, *dy = m->dy + row * HIDDEN, *weight = m->norm.weight;
		float mean = m->stats[2 * row], rstd = m->stats[2 * row + 1], g_sum = 0, gh_sum = 0, *dx = m->dx + row * HIDDEN;

#pragma omp simd reduction(+ : g_sum, gh_sum)
		for (size_t i = 0; i < HIDDEN; i++) {
			float h = (x[i] - mean) * rstd, g = dy[i] * weight[i];

			d_weight[i] += dy[i] * h;
			d_bias[i] += dy[i];
			g_sum += g;
			gh_sum += g * h;
		}
		g_sum /= HIDDEN;
		gh_sum /= HIDDEN;
#pragma omp simd
		for (size_t i = 0; i < HIDDEN; i++)
			dx[i] += rstd * (dy[i] * weight[i] - g_sum - (x[i] - mean) * rstd * gh_sum);
	}
}

static void
norm_share(void *context, size_t item)
{
	const struct normed *m = context;
	float *d_weight = m->partial + item * 2 * HIDDEN;

	memset(d_weight, 0, 2 * HIDDEN * sizeof *d_weight);
	norm_rows(m, m->rows * item / m->shares, m->rows * (item + 1) / m->shares, d_weight, d_weight + HIDDEN);
}

static void
norm_other(const struct normed *m, int threads)
{
	struct normed shared = *m;

	dpo_parallel_for(threads, m->shares, norm_share, &shared);
	for (size_t i = 0; i < m->shares; i++) {
		dpo_vector_add(m->norm.d_weight, m->partial + 2 * i * HIDDEN, HIDDEN);
		dpo_vector_add(m->norm.d_bias, m->partial + (2 * i + 1) * HIDDEN, HIDDEN);
	}
}

static struct cost
norms(const struct setting *s)
{
	size_t n = s->rows * HIDDEN, shares = (size_t)s->threads;
	struct normed m = { .rows = s->rows, .x = subject_filled(n), .y = subject_filled(n), .dy = subject_filled(n),
		.dx = subject_filled(n), .stats = subject_filled(2 * s->rows),
		.partial = subject_filled(dpo_norm_partial(s->rows, HIDDEN) + 2 * shares * HIDDEN), .shares = shares };
	float *weights = subject_filled(4 * HIDDEN);
	double ours = 0, other = 0, start;

	m.norm = (struct dpo_norm){ DPO_NORM_LAYER, HIDDEN, 1e-5f, weights, weights + HIDDEN, weights + 2 * HIDDEN,
		weights + 3 * HIDDEN };
	dpo_norm_forward(s->threads, &m.norm, m.rows, m.x, m.y, m.stats);
	for (int round = 0; round <= 20 * s->rounds; round++) {
		start = machine_wall();
		dpo_norm_backward(s->threads, &m.norm, m.rows, m.x, m.stats, m.dy, m.dx, m.partial);
		subject_least(&ours, machine_wall() - start);
		start = machine_wall();
		norm_other(&m, s->threads);
		subject_least(&other, machine_wall() - start);
	}
	free(m.x);
	free(m.y);
	free(m.dy);
	free(m.dx);
	free(m.stats);
	free(m.partial);
	free(weights);
	return (struct cost){ PAIRS * NORMS * ours, PAIRS * NORMS * other };
}

/* ------------------------------------------------------------------ the step */

struct model_step {
	struct dpo_model model;
	struct dpo_scorer *scorer;
	struct dpo_optim optim;
	float *gradients;
};

static void
open_step(struct model_step *m, const struct setting *s)
{
	struct dpo_error err;

	subject_make(&m->model, &subject_gpt2);
	m->gradients = subject_filled(m->model.params.total);
	subject_check(dpo_scorer_new(&m->scorer, &m->model.config, &m->model.params, m->model.weights,
	    &(struct dpo_passes){ .train = true, .bf16 = s->bf16, .threads = s->threads }, &err) == DPO_OK, err.text);
	subject_optim(&m->optim, &m->model.params, s->threads);
}

static void
close_step(struct model_step *m)
{
	dpo_scorer_free(m->scorer);
	dpo_optim_free(&m->optim);
	free(m->gradients);
	dpo_model_free(&m->model);
}

/* Seconds of a whole step. */
static double
step(struct model_step *m, const struct setting *s)
{
	struct dpo_example pair = subject_pair(&m->model, s->rows - 2 * ANSWER, ANSWER);
	double update = 0, first = 0, next = 0, seconds;

	for (int round = 0; round <= s->rounds; round++) {
		seconds = subject_update(&m->optim, m->model.weights, m->gradients, (uint64_t)round + 1);
		dpo_scorer_changed(m->scorer);
		if (round > 0)
			subject_least(&update, seconds);
		subject_least(&first, subject_pass(m->scorer, &pair, m->gradients));
		subject_least(&next, subject_pass(m->scorer, &pair, m->gradients));
	}
	return update + first + (PAIRS - 1) * next;
}

static double
squares(const float *x, size_t n, int threads)
{
	double sum = 0;

#pragma omp parallel for simd num_threads(threads) reduction(+ : sum)
	for (size_t i = 0; i < n; i++)
		sum += (double)x[i] * (double)x[i];
	return sum;
}

static struct cost
gradient_norm(struct model_step *m, const struct setting *s)
{
	struct cost cost = { 0 };
	double start, sum = 0;

	for (int round = 0; round <= s->rounds; round++) {
		start = machine_wall();
		sum += dpo_optim_norm(&m->optim, m->gradients);
		subject_least(&cost.ours, machine_wall() - start);
		start = machine_wall();
		sum += sqrt(squares(m->gradients, m->model.params.total, s->threads));
		subject_least(&cost.other, machine_wall() - start);
	}
	subject_check(sum > 0, "no gradients");
	return cost;
}

/* ------------------------------------------------------------------ the table */

static double
tell(const char *part, struct cost cost, double seconds)
{
	double more = cost.ours > cost.other ? cost.ours - cost.other : 0;

	printf("  %-22s %10.1f %10.1f %9.2f%%\n", part, 1e3 * cost.ours, 1e3 * cost.other, 100 * more / seconds);
	return more;
}

static void
bench_case(char name, const struct setting *s)
{
	struct cost maps[SUBJECT_WAYS] = { { 0 } }, head[SUBJECT_WAYS] = { { 0 } };
	struct model_step model;
	double seconds, rows, bits;

	add_products(maps, s, HIDDEN, 3 * HIDDEN, s->rows, LAYERS);
	add_products(maps, s, HIDDEN, HIDDEN, s->rows, LAYERS);
	add_products(maps, s, HIDDEN, 4 * HIDDEN, s->rows, LAYERS);
	add_products(maps, s, 4 * HIDDEN, HIDDEN, s->rows, LAYERS);
	add_products(head, s, HIDDEN, VOCAB, s->head_rows, 1);
	open_step(&model, s);
	seconds = step(&model, s);
	printf("%c %-22s %10s %10s %10s\n", name, s->bf16 ? "bf16, ms a step" : "fp32, ms a step", "ours", "without", "costs");
	rows = tell("maps, forward", maps[0], seconds) + tell("maps, input", maps[1], seconds) +
	    tell("head, forward", head[0], seconds) + tell("head, input", head[1], seconds);
	bits = tell("maps, weight", maps[2], seconds) + tell("head, weight", head[2], seconds) +
	    tell("softmax", softmax(s), seconds) + tell("norms, back", norms(s), seconds) +
	    tell("gradient's norm", gradient_norm(&model, s), seconds);
	(void)tell("the step, bits alone", (struct cost){ seconds, seconds - bits }, seconds);
	(void)tell("the step, pair by pair", (struct cost){ seconds, seconds - rows }, seconds);
	(void)tell("the step", (struct cost){ seconds, seconds - bits - rows }, seconds);
	close_step(&model);
}

int
main(int argc, char **argv)
{
	struct setting s = { .threads = dpo_gemm_threads(argc > 1 && atoi(argv[1]) ? atoi(argv[1]) : dpo_parallel_available()),
		.rounds = argc > 2 ? atoi(argv[2]) : 5, .bf16 = argc > 3 && strcmp(argv[3], "bf16") == 0, .head_rows = 2 * ANSWER };
	const char *cases = argc > 4 ? argv[4] : "SL";

	subject_begin(argv);
	subject_check(!s.bf16 || dpo_bf16_kernel(), "this processor has no instructions for bfloat16");
	s.rows = 128 + 2 * ANSWER;
	if (strchr(cases, 'S'))
		bench_case('S', &s);
	s.rows = 384 + 2 * ANSWER;
	if (strchr(cases, 'L'))
		bench_case('L', &s);
	return 0;
}
