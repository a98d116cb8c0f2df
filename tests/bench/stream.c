/*
 * stream - seconds to write a model as a stream and to open it again: GPT-2 124M shape, random weights.
 *
 *	stream [THREADS [ROUNDS [DIRECTORY]]]
 *
 * Each figure the least of ROUNDS. To nowhere (/dev/null) it is checking, hashing and compressing; to a file in DIRECTORY
 * (TMPDIR, or /tmp) also what the system does with the bytes, and apart from it until the disk has them.
 */
#include "base/parallel.h"
#include "machine.h"
#include "subject.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct least {
	double nowhere, file, durable, id, open;
};

/* Seconds of writing it to path; *durable: of bringing it to the disk, if path is a file. */
static double
write_to(const struct dpo_model *model, const char *path, int threads, double *durable)
{
	double start = machine_wall(), written;
	struct dpo_error err;
	struct dpo_out out;

	subject_check(dpo_out_open(&out, path, &err) == DPO_OK && dpo_model_write(model, NULL, NULL, &out, threads, &err) == DPO_OK,
	    err.text);
	written = machine_wall();
	subject_check(dpo_out_commit(&out, &err) == DPO_OK, err.text);
	subject_least(durable, machine_wall() - written);
	return written - start;
}

static void
take_turn(struct dpo_model *model, const char *path, int threads, struct least *least)
{
	struct dpo_model again;
	struct dpo_error err;
	double none = 0, start;

	subject_least(&least->nowhere, write_to(model, "/dev/null", threads, &none));
	subject_least(&least->file, write_to(model, path, threads, &least->durable));
	start = machine_wall();
	subject_check(dpo_model_identify(model, threads, &err) == DPO_OK, err.text);
	subject_least(&least->id, machine_wall() - start);
	start = machine_wall();
	subject_check(dpo_model_open(&again, path, threads, &err) == DPO_OK, err.text);
	subject_least(&least->open, machine_wall() - start);
	dpo_model_free(&again);
}

int
main(int argc, char **argv)
{
	int threads = argc > 1 && atoi(argv[1]) > 0 ? atoi(argv[1]) : dpo_parallel_available();
	int rounds = argc > 2 ? atoi(argv[2]) : 3;
	const char *temp = getenv("TMPDIR"), *directory = argc > 3 ? argv[3] : temp ? temp : "/tmp";
	struct least least = { 0 };
	struct dpo_model model;
	char path[512];

	subject_begin(argv);
	snprintf(path, sizeof path, "%.400s/bench-%ld.dpo", directory, (long)getpid());
	subject_make(&model, &subject_gpt2);
	for (int i = 0; i < rounds; i++)
		take_turn(&model, path, threads, &least);
	unlink(path);
	printf("%d threads: to write: %.3f s to nowhere, %.3f s to a file, %.3f s more to the disk; the id: %.3f s; to "
	    "open: %.3f s\n", threads, least.nowhere, least.file, least.durable, least.id, least.open);
	dpo_model_free(&model);
	return 0;
}
