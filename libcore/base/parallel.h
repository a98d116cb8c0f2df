/*
 * parallel - the only place with threads. Layer 2; uses OpenMP.
 *
 * Work is cut into items by its shape alone, never by the number of threads; an item writes only its own results. Sums over
 * items are taken by the caller in item order. So results do not depend on the thread count.
 */
#ifndef DPO_PARALLEL_H
#define DPO_PARALLEL_H

#include <stddef.h>

/* One item of work. context is the caller's. */
typedef void dpo_parallel_item(void *context, size_t item);

/*
 * Call item(context, i) for every i below n, on at most `threads` threads; returns when all are done. With threads 1 or n 1
 * all run on the calling thread.
 */
void dpo_parallel_for(int threads, size_t n, dpo_parallel_item *item, void *context);

/*
 * Let the calling thread run on every processor this process was given. Where OpenMP binds threads (OMP_PROC_BIND), it has
 * by now bound the first one to a single processor, and a program started from it would inherit that.
 */
void dpo_parallel_unbind(void);

/* How many threads this process may use: the affinity mask it was given, cut to the cgroup's CPU quota (rounded up); at least 1. */
int dpo_parallel_available(void);

/*
 * The CPUs of the least quota (cpu.max of cgroup v2, rounded up) between the group that the file `of` names (as /proc/self/cgroup
 * does) and `root`, where the groups are mounted; 0 if there is none.
 */
int dpo_parallel_quota(const char *of, const char *root);

#endif
