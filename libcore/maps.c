#include "maps.h"

#include "size.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

const uint8_t *
dpo_maps_add(struct dpo_maps *maps, int fd, const char *path)
{
	void *list = maps->list, *data;
	struct stat about;
	char *copy;

	if (fstat(fd, &about) != 0 || about.st_size <= 0 ||
	    !dpo_size_grow(&list, &maps->capacity, maps->count + 1, sizeof *maps->list))
		return NULL;
	maps->list = list;
	if (!(copy = dpo_size_copy(path, strlen(path))))
		return NULL;
	data = mmap(NULL, (size_t)about.st_size, PROT_READ, MAP_SHARED, fd, 0);
	if (data == MAP_FAILED) {
		free(copy);
		return NULL;
	}
	maps->list[maps->count++] = (struct dpo_map){ data, (size_t)about.st_size, copy };
	return data;
}

void
dpo_maps_free(struct dpo_maps *maps)
{
	for (size_t i = 0; i < maps->count; i++) {
		union { const uint8_t *in; void *out; } data = { .in = maps->list[i].data };

		(void)munmap(data.out, maps->list[i].bytes);
		free(maps->list[i].path);
	}
	free(maps->list);
	*maps = (struct dpo_maps){ 0 };
}
