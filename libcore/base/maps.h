/*
 * maps - files mapped into memory, read-only. Layer 1; uses error, size.
 *
 * Programs that map one file share its pages, and none of them takes long to open it. The price: what is written to the file
 * afterwards is read by whoever mapped it, and one that becomes shorter ends whoever reads beyond its end by SIGBUS, which is for
 * the program to make a message of. So results are to be trusted only if dpo_maps_look says so after the last reading. A file
 * that is replaced by another of its name stays as it was for those who have it mapped.
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
 * Whether a file was written to since it was mapped: DPO_IO, which names the first whose size or time of last writing is another.
 * *touched: since it was looked at last, of some file the time of its last change alone became another. That comes from another
 * name, link, owner or mode, also where it ends as it was, but also from a writer who set back the time of the last writing: what
 * the file holds decides. Reading changes nothing. Writing within a tick of the file system's clock after the mapping, some milliseconds, is not
 * seen.
 */
enum dpo_status dpo_maps_look(struct dpo_maps *maps, bool *touched, struct dpo_error *err) DPO_MUST_CHECK;
/* The path of the file that `at` points into. Borrowed. */
const char *dpo_maps_path(const struct dpo_maps *maps, const void *at);
/* Unmap all. */
void dpo_maps_free(struct dpo_maps *maps);

#endif
