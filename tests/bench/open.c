/*
 * open - how long a model takes to be there, and how much of that is its id.
 *
 *	bin/bench/open MODEL		# a directory with F32 weights
 *
 * Wall seconds, the least of five: opening it to read and to train, and hashing all its weights once more, which is the id.
 */
#include "base/parallel.h"
#include "machine.h"
#include "subject.h"

#include <stdio.h>

enum { RUNS = 5 };

/* Least seconds of opening; model is left open. */
static double
opening(struct dpo_model *model, bool frozen, const char *path, int threads)
{
	double least = 0, start;
	struct dpo_error err;

	for (int i = 0; i < RUNS; i++) {
		if (i > 0)
			dpo_model_free(model);
		start = machine_wall();
		subject_check((frozen ? dpo_model_open_frozen : dpo_model_open)(model, path, threads, &err) == DPO_OK, err.text);
		subject_least(&least, machine_wall() - start);
	}
	return least;
}

/* Of the id alone: hashing all weights once more. */
static double
identifying(struct dpo_model *model, int threads)
{
	double least = 0, start;
	struct dpo_error err;

	for (int i = 0; i < RUNS; i++) {
		start = machine_wall();
		subject_check(dpo_model_identify(model, threads, &err) == DPO_OK, err.text);
		subject_least(&least, machine_wall() - start);
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
	subject_begin(argv);
	train = opening(&model, false, argv[1], threads);
	id = identifying(&model, threads);
	dpo_model_free(&model);
	read = opening(&model, true, argv[1], threads);
	dpo_model_free(&model);
	printf("to read: %.3f s, to train: %.3f s; the id alone: %.3f s\n", read, train, id);
	return 0;
}
