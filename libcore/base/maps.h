/*
 * maps - files mapped into memory, read-only. Layer 1; uses error, size.
 *
 * Programs that map the same file share its pages, and opening it is quick. The price: later writes to the file show
 * through the map, and if the file becomes shorter, reading beyond its end raises SIGBUS, which the program has to turn
 * into a message. So results may be trusted only if dpo_maps_look agrees after the last read. A file replaced by another of
 * the same name stays as it was for those who have it mapped.
 */
#ifndef DPO_MAPS_H
#define DPO_MAPS_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

struct dpo_map {
	const uint8_t *data;	/* the whole file */
	size_t bytes;
	char *path;		/* owned */
	int fd;			/* owned */
	struct stat then;	/* when it was mapped, or looked at last */
};

/* {0} is empty. */
struct dpo_maps {
	struct dpo_map *list;	/* owned */
	size_t count, capacity;
};

/*
 * Map the regular file open on fd, which may be closed afterwards. Returns its bytes, or NULL if it cannot be mapped or
 * memory is out.
 */
const uint8_t *dpo_maps_add(struct dpo_maps *maps, int fd, const char *path);
/*
 * Whether a file was written to since it was mapped: DPO_IO, naming the first whose size or modification time differs.
 * *touched: since the last look only the change time of some file changed. That comes from a new name, link, owner or mode,
 * even if undone, but also from a writer who set back the modification time: the content decides. Reading changes nothing.
 * A write within a tick of the file system's clock after the mapping, some milliseconds, goes unnoticed.
 */
enum dpo_status dpo_maps_look(struct dpo_maps *maps, bool *touched, struct dpo_error *err) DPO_MUST_CHECK;
/* The path of the file that `at` points into. Borrowed. */
const char *dpo_maps_path(const struct dpo_maps *maps, const void *at);
/* Unmap all. */
void dpo_maps_free(struct dpo_maps *maps);

#endif
