/*
 * logistic - the logistic function and its logarithms, without overflow. Layer 0; uses nothing.
 *
 * Pure arithmetic in double; any finite argument gives a finite result, except dpo_log1mexp(0), which is -infinity.
 */
#ifndef DPO_LOGISTIC_H
#define DPO_LOGISTIC_H

/* 1 / (1 + exp(-z)). */
double dpo_sigmoid(double z);
/* log sigmoid(z) = min(z, 0) - log1p(exp(-|z|)). Exactly -ln 2 at 0. */
double dpo_log_sigmoid(double z);
/* log(1 - exp(a)) for a <= 0 (Maechler 2012, "Accurately computing log(1 - exp(-|a|))"). */
double dpo_log1mexp(double a);

#endif
