/*
 * amx - the tile registers of a processor with AMX. Layer 1; uses cpu.
 *
 * Eight registers of sixteen 64-byte rows. Code that uses them calls dpo_amx_begin first and dpo_amx_end last, on the same
 * thread; both only where dpo_amx_here.
 */
#ifndef DPO_AMX_H
#define DPO_AMX_H

#include <stdbool.h>

/*
 * Whether the processor has them with bfloat16 products, the system grants them to this process (this call asks it), and
 * the environment does not ask for another kernel (cpu.h).
 */
bool dpo_amx_here(void);

void dpo_amx_begin(void);
void dpo_amx_end(void);

#endif
