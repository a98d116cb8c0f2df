/*
 * kl - Kullback-Leibler divergences between next-token distributions. Layer 3; uses vector.
 */
#ifndef DPO_KL_H
#define DPO_KL_H

#include <stddef.h>

/*
 * sum_v p_v (log p_v - log q_v) in nats, p = softmax(policy[vocab]), q = softmax(reference[vocab]): the exact divergence
 * from policy to reference of one token. At least 0; NaN where a logit is.
 */
double dpo_kl(const float *policy, const float *reference, size_t vocab);

#endif
