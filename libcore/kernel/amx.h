/*
 * amx - the tile registers of a processor with AMX. Layer 1; uses cpu.
 *
 * Eight registers of sixteen rows of 64 bytes. What computes with them begins with dpo_amx_begin and ends with dpo_amx_end,
 * on the same thread; both only where dpo_amx_here.
 */
#ifndef DPO_AMX_H
#define DPO_AMX_H

#include <stdbool.h>

/*
 * Whether the processor has them with products of bfloat16, the system grants them to this process (it asks), and the
 * environment does not ask for something else (cpu.h).
 */
bool dpo_amx_here(void);

void dpo_amx_begin(void);
void dpo_amx_end(void);

#endif
