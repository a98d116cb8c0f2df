#include "loss/logistic.h"

#include <math.h>

double
dpo_sigmoid(double z)
{
	double e = exp(-fabs(z));

	return z >= 0 ? 1.0 / (1.0 + e) : e / (1.0 + e);
}

double
dpo_log_sigmoid(double z)
{
	return (z < 0 ? z : 0.0) - log1p(exp(-fabs(z)));
}

double
dpo_log1mexp(double a)
{
	const double ln_2 = 0.693147180559945309417232121458;

	return a > -ln_2 ? log(-expm1(a)) : log1p(-exp(a));
}
