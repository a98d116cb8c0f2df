/*
 * kernels - what the tests of the fast kernels share: each compares its kernel with the plainest loops in double
 * precision, at odd sizes.
 */
#ifndef KERNELS_H
#define KERNELS_H

#include <stddef.h>

/* The threads that kernels run on in these tests, once kernels_set_up, cmocka's set-up of a group, has counted them. */
extern int threads;
int kernels_set_up(void **unused);

/* n numbers in [-1, 1), others at every call; n numbers that equal x. The caller frees. They fail the test without memory. */
float *noise(size_t n);
float *copy(const float *x, size_t n);

/* The sum of the terms in the order that lanes.h promises of every build. */
float sum_by_lanes(const float *terms, size_t n);

/* Fail the test unless got is within the tolerance of what is wanted. */
void near(double got, double wanted, double tolerance);

/* Runs a group of cmocka's tests under each kernel of float products that DPO_KERNEL can ask for; how many failed. */
#define kernels_run(tests) kernels_run_group(tests, sizeof(tests) / sizeof *(tests))
struct CMUnitTest;
int kernels_run_group(const struct CMUnitTest *tests, size_t n);

#endif
