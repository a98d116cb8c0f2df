/*
 * wish - what the environment wants products to be computed by. Layer 0; uses nothing.
 */
#ifndef DPO_WISH_H
#define DPO_WISH_H

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Whether DPO_KERNEL is that: "vectors" or "blas". */
static inline bool
dpo_wished(const char *kernel)
{
	const char *wish = getenv("DPO_KERNEL");

	return wish && strcmp(wish, kernel) == 0;
}

#endif
