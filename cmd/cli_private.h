/* cli_private - what cli.c and options.c share. */
#ifndef CLI_PRIVATE_H
#define CLI_PRIVATE_H

#include "cli.h"

#include <stdio.h>

/* Descriptors and signals; the program's name for messages. */
void cli_start(const struct cli_program *program);
/* Start the program again, once, with waiting threads that sleep. Call it before anything is read. */
void cli_wait_passively(char **argv);
/* "out of memory", exit 1. */
_Noreturn void cli_out_of_memory(void);
void cli_set_loudness(bool quiet, bool verbose);
/* "usage: NAME [OPTION...] OPERANDS" */
void cli_print_usage(const struct cli_program *program, FILE *to);

#endif
