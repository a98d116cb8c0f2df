#include "base/maps.h"

#include "base/size.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

const uint8_t *
dpo_maps_add(struct dpo_maps *maps, int fd, const char *path)
{
	struct dpo_map map = { .fd = -1 };
	void *list = maps->list, *data = MAP_FAILED;

	if (fstat(fd, &map.then) != 0 || map.then.st_size <= 0 ||
	    !dpo_size_grow(&list, &maps->capacity, maps->count + 1, sizeof *maps->list))
		return NULL;
	maps->list = list;
	map.bytes = (size_t)map.then.st_size;
	if ((map.path = dpo_size_copy(path, strlen(path))) && (map.fd = fcntl(fd, F_DUPFD_CLOEXEC, 0)) >= 0)
		data = mmap(NULL, map.bytes, PROT_READ, MAP_SHARED, map.fd, 0);
	if (data == MAP_FAILED) {
		if (map.fd >= 0)
			close(map.fd);
		free(map.path);
		return NULL;
	}
	map.data = data;
	maps->list[maps->count++] = map;
	return data;
}

static bool
same_time(struct timespec a, struct timespec b)
{
	return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

enum dpo_status
dpo_maps_look(struct dpo_maps *maps, bool *touched, struct dpo_error *err)
{
	*touched = false;
	for (size_t i = 0; i < maps->count; i++) {
		struct dpo_map *map = &maps->list[i];
		struct stat now;

		if (fstat(map->fd, &now) != 0)
			return dpo_fail_errno(err, "%s", map->path);
		if (now.st_size != map->then.st_size || !same_time(now.st_mtim, map->then.st_mtim))
			return dpo_fail(err, DPO_IO, "%s: changed while it was read", map->path);
		*touched |= !same_time(now.st_ctim, map->then.st_ctim);
		map->then = now;
	}
	return DPO_OK;
}

const char *
dpo_maps_path(const struct dpo_maps *maps, const void *at)
{
	for (size_t i = 0; i < maps->count; i++)
		if ((uintptr_t)at - (uintptr_t)maps->list[i].data < maps->list[i].bytes)
			return maps->list[i].path;
	return "?";
}

void
dpo_maps_free(struct dpo_maps *maps)
{
	for (size_t i = 0; i < maps->count; i++) {
		union { const uint8_t *in; void *out; } data = { .in = maps->list[i].data };

		(void)munmap(data.out, maps->list[i].bytes);
		close(maps->list[i].fd);
		free(maps->list[i].path);
	}
	free(maps->list);
	*maps = (struct dpo_maps){ 0 };
}
