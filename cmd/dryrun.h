/*
 * dryrun - the estimate of a training run, reported and acted on before the work starts. Part of dpo-train; like cli it
 * prints and exits.
 */
#ifndef DRYRUN_H
#define DRYRUN_H

#include "training.h"

/*
 * Estimate the run whose model (or its outline) and rows are open. With --dry-run print it as a JSON object and end the program;
 * above --max-memory end it too, with status 1; else it is a note.
 */
void dryrun_estimate(struct training *training);

#endif
