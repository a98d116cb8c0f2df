#include "base/ids.h"

bool
dpo_ids_add(struct dpo_ids *ids, int32_t id)
{
	void *list = ids->ids;

	if (!dpo_size_grow(&list, &ids->capacity, ids->count + 1, sizeof *ids->ids))
		return false;
	ids->ids = list;
	ids->ids[ids->count++] = id;
	return true;
}
