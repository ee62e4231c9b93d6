#include "analysis/rounding.h"

#include <math.h>

/* Bits of the fraction, and the exponent of the smallest normal number. */
typedef struct Format {
    int fraction, least;
} Format;

static bool format_of(DType dtype, Format *f)
{
    switch (dtype) {
    case LT_F32: *f = (Format){23, -126}; return true;
    case LT_BF16: *f = (Format){7, -126}; return true;
    case LT_F16: *f = (Format){10, -14}; return true;
    default: return false;
    }
}

double rounding_ulp(double x, DType dtype)
{
    Format f;
    int exponent;

    if (!format_of(dtype, &f))
        return 0;
    frexp(x, &exponent); /* x = fraction 2^exponent with a fraction from 1/2 on */
    exponent = x == 0 || exponent - 1 < f.least ? f.least : exponent - 1;
    return ldexp(1, exponent - f.fraction);
}

double rounding_energy(const double *x, int64_t n, DType dtype)
{
    double sum = 0;

    for (int64_t i = 0; i < n; i++) {
        const double ulp = rounding_ulp(x[i], dtype);

        sum += ulp * ulp;
    }
    return sum / 12;
}

const char *verdict_name(Verdict v)
{
    return v == VERDICT_OK ? "ok" : v == VERDICT_ROUNDING ? "rounding" : "zero";
}

Verdict rounding_verdict(double noise, double fro2, const double *tau, int n, double *trusted_to)
{
    *trusted_to = 0;
    if (fro2 == 0)
        return VERDICT_ZERO;
    for (int i = 0; i < n; i++)
        if (noise <= (1 - tau[i]) * fro2 && tau[i] > *trusted_to)
            *trusted_to = tau[i];
    return *trusted_to > 0 ? VERDICT_OK : VERDICT_ROUNDING;
}
