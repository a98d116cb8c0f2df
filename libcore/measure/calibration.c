#include "measure/calibration.h"

#include "loss/logistic.h"

#include <math.h>

void
dpo_calibration_add(struct dpo_calibration *calibration, double margin)
{
	double confidence = dpo_sigmoid(fabs(margin)), wrong = margin > 0 ? 1 - confidence : confidence;
	size_t bin = (size_t)((confidence - 0.5) * 2 * DPO_BINS);

	bin = bin < DPO_BINS ? bin : DPO_BINS - 1;
	calibration->n++;
	calibration->in_bin[bin]++;
	calibration->confidence[bin] += confidence;
	calibration->right[bin] += margin > 0 ? 1 : margin < 0 ? 0 : 0.5;
	calibration->brier += wrong * wrong;
}

double
dpo_calibration_ece(const struct dpo_calibration *calibration)
{
	double sum = 0;

	for (size_t b = 0; b < DPO_BINS; b++)
		sum += fabs(calibration->right[b] - calibration->confidence[b]);
	return calibration->n ? sum / (double)calibration->n : 0;
}

double
dpo_calibration_brier(const struct dpo_calibration *calibration)
{
	return calibration->n ? calibration->brier / (double)calibration->n : 0;
}
