#include "analysis/subspace.h"

#include "core/mem.h"

#include <math.h>

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

/* ---- decomposition -------------------------------------------------------------------------------------------------------- */

static Status take_factors(Svd *s)
{
    TRY(tensor_arena_take(&s->arena, &s->u, LT_F64, s->m, s->q));
    return tensor_arena_take(&s->arena, &s->vt, LT_F64, s->q, s->n);
}

/* The matrix is destroyed on the way, so it lies in memory of its own that does not outlive this. */
static Status decompose(Svd *s, const double *value)
{
    TensorArena arena;
    Tensor a;
    Status st;

    tensor_arena_plan(&arena, s->dev);
    TRY(tensor_arena_take(&arena, &a, LT_F64, s->m, s->n));
    TRY(tensor_arena_open(&arena, s->dev, arena.used));
    TRY_GOTO(tensor_arena_take(&arena, &a, LT_F64, s->m, s->n), st, done);
    TRY_GOTO(device_upload(s->dev, a, value), st, done);
    st = op_svd(s->dev, s->u, s->sigma, s->vt, a);
done:
    tensor_arena_close(&arena);
    return st;
}

Status svd_open(Svd *svd, Device *dev, const double *value, int64_t m, int64_t n)
{
    Status st;

    *svd = (Svd){.dev = dev, .m = m, .n = n, .q = smaller(m, n)};
    TRY_GOTO(MEM_NEW(svd->sigma, (size_t)svd->q), st, done);
    tensor_arena_plan(&svd->arena, dev);
    TRY_GOTO(take_factors(svd), st, done);
    TRY_GOTO(tensor_arena_open(&svd->arena, dev, svd->arena.used), st, done);
    TRY_GOTO(take_factors(svd), st, done);
    st = decompose(svd, value);
done:
    if (st != LT_OK)
        svd_close(svd);
    return st;
}

void svd_close(Svd *svd)
{
    if (svd->arena.base != NULL)
        tensor_arena_close(&svd->arena);
    mem_free(svd->sigma);
    *svd = (Svd){0};
}

Space svd_space(const Svd *svd, Side side, int64_t from, int64_t n)
{
    return (Space){side == SIDE_LEFT ? tensor_cols(svd->u, from, n) : tensor_rows(svd->vt, from, n), side};
}

/* ---- cosines -------------------------------------------------------------------------------------------------------------- */

/* c[i, j] = a_i b_j */
static Status multiply(Device *dev, Tensor c, Space a, Space b)
{
    const bool left = a.side == SIDE_LEFT;

    return op_gemm(dev, &(GemmArgs){.c = c, .a = a.t, .b = b.t, .op_a = left ? GEMM_T : GEMM_N, .op_b = left ? GEMM_N : GEMM_T});
}

Status subspace_cosines(Device *dev, double *cosine, Space a, Space b)
{
    const int64_t rows = space_count(a), cols = space_count(b);
    TensorArena arena;
    Tensor c;
    Status st;

    BUG_IF(a.side != b.side || space_dim(a) != space_dim(b));
    tensor_arena_plan(&arena, dev);
    TRY(tensor_arena_take(&arena, &c, LT_F64, rows, cols));
    TRY(tensor_arena_open(&arena, dev, arena.used));
    TRY_GOTO(tensor_arena_take(&arena, &c, LT_F64, rows, cols), st, done);
    TRY_GOTO(multiply(dev, c, a, b), st, done);
    st = device_download(dev, cosine, c);
done:
    tensor_arena_close(&arena);
    return st;
}

double subspace_overlap(const double *cosine, int64_t stride, int64_t i, int64_t j)
{
    double sum = 0;

    for (int64_t r = 0; r < i; r++)
        for (int64_t c = 0; c < j; c++)
            sum += cosine[r * stride + c] * cosine[r * stride + c];
    return sum / (double)smaller(i, j);
}

double subspace_overlap_chance(int64_t i, int64_t j, int64_t dim) { return (double)(i > j ? i : j) / (double)dim; }

/* ---- angles --------------------------------------------------------------------------------------------------------------- */

/* What angles are found with. */
typedef struct AngleRoom {
    TensorArena arena;
    Tensor cosine; /* [p, i]: b by a */
    Tensor rest;   /* b less its projection on a, shaped like b */
} AngleRoom;

static Status take_room(AngleRoom *r, Space a, Space b)
{
    TRY(tensor_arena_take(&r->arena, &r->cosine, LT_F64, space_count(b), space_count(a)));
    return tensor_arena_take(&r->arena, &r->rest, LT_F64, b.t.rows, b.t.cols);
}

static Status take_projection_off(Device *dev, const AngleRoom *r, Space a, Space b)
{
    TRY(device_copy(dev, r->rest, b.t));
    if (a.side == SIDE_LEFT)
        return op_gemm(dev, &(GemmArgs){.c = r->rest, .a = a.t, .b = r->cosine, .op_b = GEMM_T, .alpha = -1, .beta = 1});
    return op_gemm(dev, &(GemmArgs){.c = r->rest, .a = r->cosine, .b = a.t, .alpha = -1, .beta = 1});
}

/* The cosine is flat at small angles: acos would give half of the digits. There the sine, a value of what the other space does not hold, has them all. */
static double angle_of(double cosine, double sine)
{
    return cosine * cosine < 0.5 ? acos(cosine) : asin(sine);
}

Status subspace_angles(Device *dev, double *theta, Space a, Space b)
{
    if (space_count(a) < space_count(b)) { /* the sines of the larger space would begin with directions that have no partner */
        const Space kept = a;

        a = b;
        b = kept;
    }
    const int64_t p = space_count(b);
    AngleRoom r = {0};
    double *sine = NULL;
    Status st;

    BUG_IF(a.side != b.side || space_dim(a) != space_dim(b));
    TRY_GOTO(MEM_NEW(sine, (size_t)p), st, done);
    tensor_arena_plan(&r.arena, dev);
    TRY_GOTO(take_room(&r, a, b), st, done);
    TRY_GOTO(tensor_arena_open(&r.arena, dev, r.arena.used), st, done);
    TRY_GOTO(take_room(&r, a, b), st, done);
    TRY_GOTO(multiply(dev, r.cosine, b, a), st, done);
    TRY_GOTO(take_projection_off(dev, &r, a, b), st, done);
    TRY_GOTO(op_svd_values(dev, theta, r.cosine), st, done);
    TRY_GOTO(op_svd_values(dev, sine, r.rest), st, done);
    for (int64_t k = 0; k < p; k++)
        theta[k] = angle_of(theta[k], sine[p - 1 - k]);
done:
    if (r.arena.base != NULL)
        tensor_arena_close(&r.arena);
    mem_free(sine);
    return st;
}

SubspaceDistance subspace_distance(const double *theta, int64_t p)
{
    double angles2 = 0, sines2 = 0, log_cosines2 = 0;

    for (int64_t k = 0; k < p; k++) {
        const double sine2 = sin(theta[k]) * sin(theta[k]);

        angles2 += theta[k] * theta[k];
        sines2 += sine2;
        log_cosines2 += log1p(-sine2); /* 1 - a product near 1 would lose what small angles leave of it */
    }
    return (SubspaceDistance){
        .geodesic = sqrt(angles2),
        .chordal = sqrt(sines2),
        .projection = p > 0 ? sin(theta[p - 1]) : 0,
        .binet_cauchy = sqrt(-expm1(log_cosines2)),
    };
}

double subspace_angle_chance(int64_t i, int64_t j, int64_t dim) { return acos(sqrt(subspace_overlap_chance(i, j, dim))); }

/* ---- intruders ------------------------------------------------------------------------------------------------------------ */

/* Keeps the largest few of what it is shown, descending. */
static void keep_largest(double *top, double x)
{
    for (int i = 0; i < SUBSPACE_NEAREST; i++)
        if (x > top[i]) {
            const double less = top[i];

            top[i] = x;
            x = less;
        }
}

void subspace_nearest(Nearest *out, const double *cosine, int64_t rows, int64_t cols)
{
    for (int64_t j = 0; j < cols; j++) {
        double top[SUBSPACE_NEAREST] = {0};

        for (int64_t i = 0; i < rows; i++)
            keep_largest(top, fabs(cosine[i * cols + j]));
        out[j] = (Nearest){.cosine = top[0]};
        for (int i = SUBSPACE_NEAREST - 1; i >= 0; i--)
            out[j].energy += top[i] * top[i];
    }
}

static bool is_intruder(Nearest n, double epsilon) { return n.cosine < epsilon; }

int64_t subspace_intruders(const Nearest *nearest, int64_t k, double epsilon, double *margin)
{
    int64_t count = 0;

    *margin = INFINITY;
    for (int64_t j = 0; j < k; j++) {
        count += is_intruder(nearest[j], epsilon);
        *margin = fmin(*margin, fabs(nearest[j].cosine - epsilon));
    }
    return count;
}

double subspace_intruders_chance(int64_t k, double epsilon, int64_t q, int64_t dim)
{
    return (double)k * pow(erf(epsilon * sqrt((double)dim / 2)), (double)q);
}

Status subspace_mitigate(double *value, const Svd *tuned, const Nearest *nearest, int64_t k, double epsilon, double factor)
{
    double *u, *v;
    Status st = LT_OK;

    TRY(MEM_NEW(u, (size_t)(tuned->m + tuned->n)));
    v = u + tuned->m;
    for (int64_t j = 0; j < k; j++) {
        if (!is_intruder(nearest[j], epsilon))
            continue;
        TRY_GOTO(device_download(tuned->dev, u, tensor_cols(tuned->u, j, 1)), st, done);
        TRY_GOTO(device_download(tuned->dev, v, tensor_rows(tuned->vt, j, 1)), st, done);
        for (int64_t r = 0; r < tuned->m; r++)
            for (int64_t c = 0; c < tuned->n; c++)
                value[r * tuned->n + c] += (factor - 1) * tuned->sigma[j] * u[r] * v[c];
    }
done:
    mem_free(u);
    return st;
}

/* ---- a change beside its base --------------------------------------------------------------------------------------------- */

double subspace_alignment(const double *cosine, int64_t rows, const double *sigma, int64_t q)
{
    double inside = 0, all = 0;

    for (int64_t j = q - 1; j >= 0; j--) {
        const double x = sigma[j] / sigma[0], energy = x * x; /* relative: squares of small values would vanish */

        all += energy;
        for (int64_t i = 0; i < rows; i++)
            inside += energy * cosine[i * q + j] * cosine[i * q + j];
    }
    return inside / all;
}

double subspace_amplification(const double *left, const double *right, int64_t stride, const double *sigma, int64_t q, int64_t k, double fro)
{
    double core2 = 0;

    for (int64_t i = 0; i < k; i++)
        for (int64_t j = 0; j < k; j++) {
            double core = 0;

            for (int64_t l = q - 1; l >= 0; l--)
                core += left[l * stride + i] * sigma[l] * right[l * stride + j];
            core2 += core * core;
        }
    return fro / sqrt(core2);
}
