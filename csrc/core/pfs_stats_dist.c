/* Distributions.
 *
 * The incomplete beta function is a prefactor over the continued fraction of A. DiDonato and
 * A. Morris (ACM TOMS 18, 1992, equation 9), whose terms do not cancel where a >> b, by Lentz's
 * method.  The textbook prefactor, a difference of log-gammas, loses nine digits
 * at a million trials; the saddle-point form of C. Loader, "Fast and Accurate Computation of
 * Binomial Probabilities" (2000), loses none and needs no lgamma (which writes a global).
 * Quantiles are safeguarded Newton steps on the logarithm of the tail, in a variable in which both
 * ends of the range keep their digits.
 */
#include "pfs_stats.h"

#include <float.h>
#include <math.h>

#define TWO_PI 6.283185307179586

/* ln Gamma(x + 1) less Stirling's formula, x > 0. */
static double stirling_error(double x)
{
    double shifted = 0.0;
    while (x < 16.0) {
        shifted += (x + 0.5) * log1p(1.0 / x) - 1.0;
        x += 1.0;
    }
    double r = 1.0 / (x * x);
    double series = 1.0 / 12 - r * (1.0 / 360 - r * (1.0 / 1260 - r * (1.0 / 1680 - r / 1188)));
    return shifted + series / x;
}

/* x ln(x / m) + m - x without cancellation near x = m. */
static double deviance(double x, double m)
{
    if (fabs(x - m) >= 0.1 * (x + m)) {
        return x * log(x / m) + m - x;
    }
    double v = (x - m) / (x + m);
    double sum = (x - m) * v;
    double term = 2.0 * x * v;
    for (int j = 1; j < 100; j++) {
        term *= v * v;
        double next = sum + term / (2 * j + 1);
        if (next == sum) {
            break;
        }
        sum = next;
    }
    return sum;
}

/* x^a y^b / B(a, b), with y = 1 - x given apart so that it keeps its digits. */
static double prefactor(double a, double b, double x, double y)
{
    double n = a + b;
    double exponent = stirling_error(n) - stirling_error(a) - stirling_error(b) -
                      deviance(a, n * x) - deviance(b, n * y);
    return exp(exponent) * sqrt(a * b / (TWO_PI * n));
}

/* The fraction f of I_x(a, b) = x^a y^b / B(a, b) / f, for x below the mean. */
static double continued_fraction(double a, double b, double x, double y)
{
    double c = 0.0, d = 0.0, f = 0.0;
    for (int i = 0; i < 1000000; i++) {
        double m = (double)i, even = a + 2 * m - 1;
        double partial = m == 0.0 ? (a * (a * y - b * x + 1)) / (a + 1)
                                  : m + m * (b - m) * x / even +
                                        (a + m) * (a * y - b * x + 1 + m * (1 + y)) / (even + 2);
        double top = (m * (a + m - 1) / even) * ((a + b + m - 1) / even) * (b - m) * x * x;
        if (i == 0) {
            c = f = fmax(partial, DBL_MIN);
            continue;
        }
        d = 1.0 / (partial + top * d);
        c = partial + top / c;
        f *= c * d;
        if (fabs(c * d - 1.0) < DBL_EPSILON) {
            break;
        }
    }
    return f;
}

/* I_x(a, b), y = 1 - x; `upper` asks for 1 - I instead, without a subtraction where possible. */
static double incomplete_beta(double a, double b, double x, double y, bool upper)
{
    if (x <= 0.0 || y <= 0.0) {
        return (x <= 0.0) == upper ? 1.0 : 0.0;
    }
    double front = prefactor(a, b, x, y);
    if (x * (a + b + 2.0) < a + 1.0) {
        double lower = front / continued_fraction(a, b, x, y);
        return upper ? 1.0 - lower : lower;
    }
    double tail = front / continued_fraction(b, a, y, x);
    return upper ? tail : 1.0 - tail;
}

double pfs_stats_beta_cdf(double a, double b, double x)
{
    if (!(a > 0.0 && b > 0.0 && x >= 0.0 && x <= 1.0)) {
        return NAN;
    }
    return incomplete_beta(a, b, x, 1.0 - x, false);
}

double pfs_stats_beta_quantile(double a, double b, double p)
{
    if (!(a > 0.0 && b > 0.0 && p >= 0.0 && p <= 1.0)) {
        return NAN;
    }
    if (p == 0.0 || p == 1.0) {
        return p;
    }
    /* Solve for u = logit(x): the smaller of the two tails equals `target`. */
    bool upper = p > 0.5;
    double target = upper ? 1.0 - p : p;
    double low = -745.0, high = 745.0;
    double u = log(a / b);
    double x = 0.0;
    for (int i = 0; i < 200; i++) {
        x = 1.0 / (1.0 + exp(-u));
        double y = 1.0 / (1.0 + exp(u));
        double tail = incomplete_beta(a, b, x, y, upper);
        if ((tail < target) != upper) {
            low = u;
        } else {
            high = u;
        }
        double slope = prefactor(a, b, x, y); /* d tail / d u, as x y cancels dx / du */
        double step = tail > 0.0 && slope > 0.0 ? log(tail / target) * tail / slope : INFINITY;
        double next = upper ? u + step : u - step;
        if (!(next > low && next < high)) {
            next = 0.5 * (low + high);
        }
        if (fabs(next - u) <= 4 * DBL_EPSILON * fmax(1.0, fabs(u))) {
            return 1.0 / (1.0 + exp(-next));
        }
        u = next;
    }
    return x;
}

double pfs_stats_normal_tail(double z)
{
    return 0.5 * erfc(z * 0.7071067811865476);
}

double pfs_stats_normal_quantile(double p)
{
    if (!(p >= 0.0 && p <= 1.0)) {
        return NAN;
    }
    if (p == 0.0 || p == 1.0) {
        return p == 0.0 ? -INFINITY : INFINITY;
    }
    /* Abramowitz and Stegun 26.2.23 (error 4.5e-4), then Halley's method. */
    double tail = p < 0.5 ? p : 1.0 - p;
    double t = sqrt(-2.0 * log(tail));
    double z = t - (2.515517 + t * (0.802853 + t * 0.010328)) /
                       (1.0 + t * (1.432788 + t * (0.189269 + t * 0.001308)));
    for (int i = 0; i < 3; i++) {
        double density = exp(-0.5 * z * z) / 2.5066282746310002;
        double error = (tail - pfs_stats_normal_tail(z)) / density;
        z -= error / (1.0 + 0.5 * z * error);
    }
    return p < 0.5 ? -z : z;
}

double pfs_stats_t_tail(double t, double df)
{
    if (!(df > 0.0) || isnan(t)) {
        return NAN;
    }
    if (isinf(df) || df > 1e12) {
        return pfs_stats_normal_tail(t);
    }
    if (isinf(t)) {
        return t > 0.0 ? 0.0 : 1.0;
    }
    double square = t * t;
    double half =
        0.5 * incomplete_beta(0.5 * df, 0.5, df / (df + square), square / (df + square), false);
    return t >= 0.0 ? half : 1.0 - half;
}

/* The density of Student's t, from the same prefactor: x^a y^b / B(a, b) at x = df / (df + t^2),
 * a = df / 2, b = 1/2 is |t| times the density. */
static double t_density(double t, double df)
{
    double square = t * t;
    return prefactor(0.5 * df, 0.5, df / (df + square), square / (df + square)) / fabs(t);
}

double pfs_stats_t_quantile(double p, double df)
{
    if (!(df > 0.0 && p >= 0.0 && p <= 1.0)) {
        return NAN;
    }
    if (p == 0.0 || p == 1.0 || isinf(df) || df > 1e12) {
        return pfs_stats_normal_quantile(p);
    }
    if (p == 0.5) {
        return 0.0;
    }
    double target = p < 0.5 ? p : 1.0 - p;
    double low = 0.0, high = INFINITY;
    double t = fabs(pfs_stats_normal_quantile(target));
    for (int i = 0; i < 2000; i++) {
        double tail = pfs_stats_t_tail(t, df);
        if (tail > target) {
            low = t;
        } else {
            high = t;
        }
        double density = t_density(t, df);
        double next =
            t + (density > 0.0 && tail > 0.0 ? log(tail / target) * tail / density : INFINITY);
        if (!(next > low && next < high)) {
            next = isinf(high) ? 2.0 * t : 0.5 * (low + high);
        }
        if (fabs(next - t) <= 4 * DBL_EPSILON * t) {
            t = next;
            break;
        }
        t = next;
    }
    return p < 0.5 ? -t : t;
}
