#include "model/tokennames.h"

#include <stdio.h>

const char *
dpo_tokennames_text(const cJSON *tree, const char *name)
{
	const cJSON *item = dpo_json_get(tree, name);

	if (cJSON_IsObject(item))
		item = dpo_json_get(item, "content");
	return cJSON_IsString(item) ? item->valuestring : NULL;
}

const cJSON *
dpo_tokennames_id(const cJSON *config, const char *name)
{
	const cJSON *item;
	char key[32];

	snprintf(key, sizeof key, "%s_id", name);
	item = dpo_json_get(config, key);
	if (cJSON_IsArray(item))
		item = item->child;
	return cJSON_IsNumber(item) ? item : NULL;
}
