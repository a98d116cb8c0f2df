/*
 * maps - files that lie in memory as they are, read-only. Layer 1; uses size.
 *
 * Programs that map one file share its pages, and none of them takes long to open it. The price: a file that becomes shorter
 * afterwards ends whoever reads beyond its end by SIGBUS, which is for the program to make a message of.
 */
#ifndef DPO_MAPS_H
#define DPO_MAPS_H

#include <stddef.h>
#include <stdint.h>

struct dpo_map {
	const uint8_t *data;	/* the whole file */
	size_t bytes;
	char *path;		/* owned */
};

/* {0} is empty. */
struct dpo_maps {
	struct dpo_map *list;	/* owned */
	size_t count, capacity;
};

/* Map the regular file fd is open on, which may be closed then: its bytes, or NULL where that cannot be or memory is out. */
const uint8_t *dpo_maps_add(struct dpo_maps *maps, int fd, const char *path);
/* Unmap all. */
void dpo_maps_free(struct dpo_maps *maps);

#endif
