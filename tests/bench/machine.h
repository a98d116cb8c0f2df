/*
 * machine - what this machine can do at most: arithmetic and memory, measured. For the bench alone.
 */
#ifndef MACHINE_H
#define MACHINE_H

#include <stddef.h>

/* Seconds since some fixed time, and seconds of all cores spent by this process. */
double machine_wall(void);
double machine_cpu(void);

/* GFLOP/s of fused multiply-adds in registers on so many threads, by the widest vectors there are; 0 if not known. */
double machine_fma(int threads);

/* The same of products of bfloat16, by tile registers or else by vectors (bf16.h); 0 if there are none. */
double machine_bf16(int threads);

/* GB/s of reading, the best of several ways, and of changing in place (read and write counted), n floats of data. */
double machine_read(int threads, const float *data, size_t n);
double machine_change(int threads, float *data, size_t n);

#endif
