#include "measure/slices.h"

#include "base/size.h"

#include <stdlib.h>

enum dpo_status
dpo_slices_add(struct dpo_slices *slices, const char *value, size_t n, bool right, struct dpo_error *err)
{
	int64_t place = dpo_table_get(&slices->table, value, n, -1);
	void *list = slices->list;
	char *copy;
	bool fits;

	if (place < 0) {
		place = (int64_t)slices->table.count;
		fits = dpo_size_grow(&list, &slices->capacity, slices->table.count + 1, sizeof *slices->list);
		slices->list = list;
		if (!fits || !(copy = dpo_size_copy(value, n)))
			return dpo_fail_memory(err);
		slices->list[place] = (struct dpo_slice){ .value = copy };
		if (dpo_table_add(&slices->table, value, n, place) < 0) {
			free(copy);
			return dpo_fail_memory(err);
		}
	}
	slices->list[place].rows++;
	slices->list[place].right += right;
	return DPO_OK;
}

void
dpo_slices_free(struct dpo_slices *slices)
{
	for (size_t i = 0; i < slices->table.count; i++)
		free(slices->list[i].value);
	dpo_table_free(&slices->table);
	free(slices->list);
	*slices = (struct dpo_slices){ 0 };
}
