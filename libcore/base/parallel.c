#define _GNU_SOURCE	/* sched_getaffinity */
#include "base/parallel.h"

#include <omp.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

void
dpo_parallel_for(int threads, size_t n, dpo_parallel_item *item, void *context)
{
	if (threads <= 1 || n <= 1) {
		for (size_t i = 0; i < n; i++)
			item(context, i);
		return;
	}
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
	for (size_t i = 0; i < n; i++)
		item(context, i);
}

/* CPUs allowed by one cgroup v2 cpu.max file ("max 100000" or "150000 100000"); 0 if it sets no limit. */
static int
read_quota(const char *path)
{
	long long limit, period;
	FILE *file = fopen(path, "re");
	int got;

	if (!file)
		return 0;
	got = fscanf(file, "%lld %lld", &limit, &period);
	fclose(file);
	return got == 2 && limit > 0 && period > 0 ? (int)((limit + period - 1) / period) : 0;
}

int
dpo_parallel_quota(const char *of, const char *root)
{
	char line[512], path[1024];
	FILE *file = fopen(of, "re");
	int least = 0, here;

	if (!file)
		return 0;
	while (fgets(line, sizeof line, file)) {
		if (strncmp(line, "0::/", 4) != 0)
			continue;
		line[strcspn(line, "\n")] = '\0';
		for (char *end = strrchr(line, '\0'); end; end = strrchr(line + 3, '/')) {
			*end = '\0';
			snprintf(path, sizeof path, "%s%s/cpu.max", root, line + 3);
			here = read_quota(path);
			if (here > 0 && (least == 0 || here < least))
				least = here;
		}
	}
	fclose(file);
	return least;
}

/* The processors of every place that OpenMP binds threads to; else those of the calling thread. */
static void
given(cpu_set_t *mask)
{
	int processors[CPU_SETSIZE], n;

	CPU_ZERO(mask);
	for (int place = 0; place < omp_get_num_places(); place++) {
		n = omp_get_place_num_procs(place);
		if (n > CPU_SETSIZE)
			continue;
		omp_get_place_proc_ids(place, processors);
		for (int i = 0; i < n; i++)
			CPU_SET((size_t)processors[i], mask);
	}
	if (CPU_COUNT(mask) == 0 && sched_getaffinity(0, sizeof *mask, mask) != 0)
		CPU_ZERO(mask);
}

void
dpo_parallel_unbind(void)
{
	cpu_set_t mask;

	given(&mask);
	if (CPU_COUNT(&mask) > 0)
		(void)sched_setaffinity(0, sizeof mask, &mask);	/* at worst all stays slow */
}

int
dpo_parallel_available(void)
{
	cpu_set_t mask;
	int count, limit = dpo_parallel_quota("/proc/self/cgroup", "/sys/fs/cgroup");

	given(&mask);
	count = CPU_COUNT(&mask) > 0 ? CPU_COUNT(&mask) : 1;
	return limit > 0 && limit < count ? limit : count;
}
