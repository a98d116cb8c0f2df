#define _GNU_SOURCE	/* sched_getaffinity */
#include "parallel.h"

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
quota(const char *path)
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

/* The least quota on the way from this process's cgroup to the root. */
static int
cgroup_limit(void)
{
	char line[512], path[640];
	FILE *file = fopen("/proc/self/cgroup", "re");
	int least = 0, here;

	if (!file)
		return 0;
	while (fgets(line, sizeof line, file)) {
		if (strncmp(line, "0::/", 4) != 0)
			continue;
		line[strcspn(line, "\n")] = '\0';
		for (char *end = strrchr(line, '\0'); end; end = strrchr(line + 3, '/')) {
			*end = '\0';
			snprintf(path, sizeof path, "/sys/fs/cgroup%s/cpu.max", line + 3);
			here = quota(path);
			if (here > 0 && (least == 0 || here < least))
				least = here;
		}
	}
	fclose(file);
	return least;
}

int
dpo_parallel_available(void)
{
	cpu_set_t mask;
	int count = 1, limit = cgroup_limit();

	CPU_ZERO(&mask);
	if (sched_getaffinity(0, sizeof mask, &mask) == 0 && CPU_COUNT(&mask) > 0)
		count = CPU_COUNT(&mask);
	return limit > 0 && limit < count ? limit : count;
}
