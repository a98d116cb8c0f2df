/*
 * open - how long a model takes to be there, and how much of that is its id.
 *
 *	bin/bench/open MODEL		# a directory with F32 weights
 *
 * Wall seconds, the least of five: opening it to read and to train, and hashing all its weights once more, which is the id.
 */
#include "model.h"
#include "parallel.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { RUNS = 5 };

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void
check(enum dpo_status status, const struct dpo_error *err)
{
	if (status == DPO_OK)
		return;
	fprintf(stderr, "open: %s\n", err->text);
	exit(1);
}

/* Least seconds of opening; model is left open. */
static double
opening(struct dpo_model *model, bool frozen, const char *path, int threads)
{
	double least = 1e9, start;
	struct dpo_error err;

	for (int i = 0; i < RUNS; i++) {
		if (i > 0)
			dpo_model_free(model);
		start = now();
		check((frozen ? dpo_model_open_frozen : dpo_model_open)(model, path, threads, &err), &err);
		start = now() - start;
		least = start < least ? start : least;
	}
	return least;
}

/* Of the id alone: hashing all weights once more. */
static double
identifying(struct dpo_model *model, int threads)
{
	double least = 1e9, start;
	struct dpo_error err;

	for (int i = 0; i < RUNS; i++) {
		start = now();
		check(dpo_model_identify(model, threads, &err), &err);
		start = now() - start;
		least = start < least ? start : least;
	}
	return least;
}

int
main(int argc, char **argv)
{
	int threads = dpo_parallel_available();
	struct dpo_model model;
	double read, train, id;

	if (argc != 2) {
		fprintf(stderr, "usage: open MODEL\n");
		return 2;
	}
	train = opening(&model, false, argv[1], threads);
	id = identifying(&model, threads);
	dpo_model_free(&model);
	read = opening(&model, true, argv[1], threads);
	dpo_model_free(&model);
	printf("to read: %.3f s, to train: %.3f s; the id alone: %.3f s\n", read, train, id);
	return 0;
}
