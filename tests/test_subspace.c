/* Spaces of singular vectors: what golden pairs of matrices have, angles that are known, and what chance gives. */
#include "tests/matrix_file.h"

#include "analysis/subspace_report.h"
#include "core/json.h"
#include "core/mem.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static Device *dev;

static int open_device(void **state)
{
    (void)state;
    return device_open(&dev, test_device(), 2) == LT_OK ? 0 : -1;
}

static int close_device(void **state)
{
    (void)state;
    device_close(dev);
    return 0;
}

/* ---- the golden pairs ----------------------------------------------------------------------------------------------------- */

/* base, tuned and their difference, taken apart; and the base's vectors by the others'. */
typedef struct Pair {
    Svd base, tuned, change;
    double *value[3];
    double *by_tuned[2], *by_change[2]; /* of each side [q, q] */
} Pair;

static double *read_part(const StFile *file, const char *pair, const char *part, int64_t m, int64_t n)
{
    int64_t rows, cols;
    char name[64];

    snprintf(name, sizeof name, "%s.%s", pair, part);
    double *value = matrix_of_file(file, name, &rows, &cols);
    assert_true(rows == m && cols == n);
    return value;
}

static void open_pair(Pair *p, const StFile *file, const char *name, int64_t m, int64_t n)
{
    p->value[0] = read_part(file, name, "base", m, n);
    p->value[1] = read_part(file, name, "tuned", m, n);
    p->value[2] = matrix_numbers(m * n);
    for (int64_t i = 0; i < m * n; i++)
        p->value[2][i] = p->value[1][i] - p->value[0][i];
    CHECK_OK(svd_open(&p->base, dev, p->value[0], m, n));
    CHECK_OK(svd_open(&p->tuned, dev, p->value[1], m, n));
    CHECK_OK(svd_open(&p->change, dev, p->value[2], m, n));
    for (int side = 0; side < 2; side++) {
        const int64_t q = p->base.q;
        const Space base = svd_space(&p->base, (Side)side, 0, q);

        p->by_tuned[side] = matrix_numbers(q * q);
        p->by_change[side] = matrix_numbers(q * q);
        CHECK_OK(subspace_cosines(dev, p->by_tuned[side], base, svd_space(&p->tuned, (Side)side, 0, q)));
        CHECK_OK(subspace_cosines(dev, p->by_change[side], base, svd_space(&p->change, (Side)side, 0, q)));
    }
}

static void close_pair(Pair *p)
{
    svd_close(&p->base);
    svd_close(&p->tuned);
    svd_close(&p->change);
    for (int i = 0; i < 3; i++)
        mem_free(p->value[i]);
    for (int side = 0; side < 2; side++) {
        mem_free(p->by_tuned[side]);
        mem_free(p->by_change[side]);
    }
}

static double number(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);

    assert_true(json_is_number(value));
    return json_number_value(value);
}

static int64_t integer(const json_t *object, const char *key) { return (int64_t)number(object, key); }

static void check_list(const char *what, const double *got, const json_t *want, double absolute)
{
    assert_true(json_array_size(want) > 0);
    for (size_t i = 0; i < json_array_size(want); i++)
        check_close(what, got[i], json_number_value(json_array_get(want, i)), absolute, 0);
}

static void check_overlaps(const Pair *p, Side side, const json_t *list)
{
    const int64_t dim = side == SIDE_LEFT ? p->base.m : p->base.n;
    const json_t *row;
    size_t at;

    assert_true(json_array_size(list) >= 25);
    json_array_foreach((json_t *)list, at, row)
    {
        const int64_t i = integer(row, "i"), j = integer(row, "j");

        check_close("phi", subspace_overlap(p->by_tuned[side], p->base.q, i, j), number(row, "phi"), 1e-9, 0);
        check_close("chance", subspace_overlap_chance(i, j, dim), number(row, "chance"), 1e-15, 0);
    }
}

/* The golden angles come from arccos, which is off by about 1e-16 over the angle; the least is 0.006. */
static void check_angles(const Pair *p, Side side, const json_t *want)
{
    double theta[8];

    CHECK_OK(subspace_angles(dev, theta, svd_space(&p->base, side, 0, 8), svd_space(&p->tuned, side, 0, 8)));
    check_list("angle", theta, json_object_get(want, "angles"), 1e-9);
    const SubspaceDistance d = subspace_distance(theta, 8);
    check_close("geodesic", d.geodesic, number(want, "geodesic"), 1e-9, 0);
    check_close("chordal", d.chordal, number(want, "chordal"), 1e-9, 0);
    check_close("projection", d.projection, number(want, "projection_2norm"), 1e-9, 0);
    check_close("binet-cauchy", d.binet_cauchy, number(want, "binet_cauchy"), 1e-9, 0);
}

static void check_intruders(Pair *p, const json_t *pair)
{
    const json_t *want = json_object_get(pair, "intruders"), *mitigated = json_object_get(pair, "mitigated"), *count;
    const int64_t k = integer(want, "k"), q = p->base.q;
    Nearest *nearest = mem_take((size_t)q, sizeof *nearest);
    const char *epsilon;
    double margin, *mild;
    Svd svd;

    assert_non_null(nearest);
    subspace_nearest(nearest, p->by_tuned[SIDE_LEFT], q, q);
    for (int64_t j = 0; j < k; j++) {
        check_close("cosine", nearest[j].cosine, json_number_value(json_array_get(json_object_get(want, "max_cosine"), (size_t)j)), 1e-9, 0);
        check_close("energy", nearest[j].energy, json_number_value(json_array_get(json_object_get(want, "energy_nearest4"), (size_t)j)), 1e-9, 0);
    }
    json_object_foreach(json_object_get(want, "count"), epsilon, count)
    {
        assert_int_equal(subspace_intruders(nearest, k, atof(epsilon), &margin), json_integer_value(count));
        check_close("margin", margin, number(json_object_get(want, "margin"), epsilon), 1e-9, 0);
    }
    mild = p->value[1]; /* nobody needs it any more */
    CHECK_OK(subspace_mitigate(mild, &p->tuned, nearest, k, number(mitigated, "epsilon"), number(mitigated, "lambda")));
    CHECK_OK(svd_open(&svd, dev, mild, p->base.m, p->base.n));
    check_list("mitigated", svd.sigma, json_object_get(mitigated, "values"), 1e-9 * svd.sigma[0]);
    svd_close(&svd);
    mem_free(nearest);
}

static void check_change(const Pair *p, const json_t *pair)
{
    const int64_t q = p->base.q;
    const char *k;
    json_t *want;
    double fro = 0;
    size_t i;

    check_list("sigma of the change", p->change.sigma, json_object_get(pair, "delta_values"), 1e-12 * p->change.sigma[0]);
    for (int64_t j = q - 1; j >= 0; j--)
        fro += p->change.sigma[j] * p->change.sigma[j];
    json_object_foreach(json_object_get(pair, "amplification"), k, want)
    {
        const double got = subspace_amplification(p->by_change[SIDE_LEFT], p->by_change[SIDE_RIGHT], q, p->base.sigma, q, atoll(k), sqrt(fro));

        check_close("amplification", got, json_number_value(want), 0, 1e-9);
    }
    json_array_foreach(json_object_get(pair, "alignment"), i, want)
        for (int side = 0; side < 2; side++) {
            const double got = subspace_alignment(p->by_change[side], integer(want, "k"), p->change.sigma, q);

            check_close("alignment", got, number(want, side == SIDE_LEFT ? "left" : "right"), 1e-9, 0);
        }
}

/* ---- the report ----------------------------------------------------------------------------------------------------------- */

/* The one row of that name and place; index 0 and epsilon NaN where it has none. */
static SubspaceRow row_at(const SubspaceRows *rows, const char *quantity, const char *side, int64_t k, int64_t index, double epsilon)
{
    const SubspaceRow *found = NULL;

    for (size_t i = 0; i < rows->count; i++) {
        const SubspaceRow *r = &rows->row[i];
        const bool same_epsilon = isnan(epsilon) ? isnan(r->epsilon) : fabs(r->epsilon - epsilon) < 1e-9;

        if (strcmp(r->quantity, quantity) != 0 || strcmp(r->side, side) != 0 || r->k != k || r->index != index || !same_epsilon)
            continue;
        assert_null(found);
        found = r;
    }
    if (found == NULL)
        fail_msg("no row %s %s k %lld index %lld epsilon %g", quantity, side, (long long)k, (long long)index, epsilon);
    return *found;
}

static void check_row(const SubspaceRows *rows, const char *quantity, const char *side, int64_t k, double want)
{
    const SubspaceRow r = row_at(rows, quantity, side, k, 0, NAN);

    check_close(quantity, r.value, want, 1e-9, 1e-9);
    assert_true(r.chance > 0);
}

/* Eight vectors, for which the golden file has angles; ten, for which it has intruders. */
static void check_report(const Pair *p, const json_t *pair)
{
    static const char *const distance[][2] = {
        {"geodesic", "geodesic"}, {"chordal", "chordal"}, {"projection", "projection_2norm"}, {"binet_cauchy", "binet_cauchy"}};
    const json_t *alignment = json_array_get(json_object_get(pair, "alignment"), 0), *angles = json_object_get(pair, "angles8_left"), *want;
    const int64_t m = p->base.m, n = p->base.n;
    double *change = matrix_numbers(m * n);
    SubspaceRows eight = {0}, ten = {0};
    const char *epsilon;

    memcpy(change, p->value[2], (size_t)(m * n) * sizeof *change);
    CHECK_OK(subspace_report(&eight, dev, p->value[0], change, m, n, 8));
    for (int64_t i = 0; i < m * n; i++)
        check_close("the tuned matrix", change[i], p->value[1][i], 1e-15, 1e-15);
    memcpy(change, p->value[2], (size_t)(m * n) * sizeof *change);
    CHECK_OK(subspace_report(&ten, dev, p->value[0], change, m, n, 10));
    assert_int_equal(integer(alignment, "k"), 4);
    check_row(&eight, "change_in_top", "left", 4, number(alignment, "left"));
    check_row(&eight, "change_in_top", "right", 4, number(alignment, "right"));
    check_row(&eight, "overlap_tuned", "left", 4, subspace_overlap(p->by_tuned[SIDE_LEFT], p->base.q, 4, 4));
    check_row(&eight, "overlap_change", "right", 8, subspace_overlap(p->by_change[SIDE_RIGHT], p->base.q, 8, 8));
    check_row(&eight, "amplification", "", 8, number(json_object_get(pair, "amplification"), "8"));
    for (size_t i = 0; i < 4; i++)
        check_row(&eight, distance[i][0], "left", 8, number(angles, distance[i][1]));
    check_close("angle", row_at(&eight, "angle", "left", 8, 3, NAN).value, json_number_value(json_array_get(json_object_get(angles, "angles"), 2)), 1e-9, 0);
    json_object_foreach(json_object_get(json_object_get(pair, "intruders"), "count"), epsilon, want)
        check_close("intruders", row_at(&ten, "intruders", "left", 10, 0, atof(epsilon)).value, json_number_value(want), 0, 0);
    subspace_rows_release(&eight);
    subspace_rows_release(&ten);
    mem_free(change);
}

/* A change of rank 2 made of the base's first and last vectors: half of its energy lies in the base's top and half in its bottom, and no more than two
 * vectors of it are looked at. Without a change every angle is 0 and nothing is said of one. */
static void test_report_of_made_changes(void **state)
{
    enum { M = 7, N = 5 };
    static const double sigma[N] = {8, 4, 2, 1, 0.5};
    double base[M * N] = {0}, change[M * N] = {0}, none[M * N] = {0};
    SubspaceRows rows = {0};

    (void)state;
    for (int i = 0; i < N; i++)
        base[i * N + i] = sigma[i];
    change[0] = change[(N - 1) * N + N - 1] = 0.25;
    CHECK_OK(subspace_report(&rows, dev, base, change, M, N, 4));
    check_row(&rows, "change_in_top", "left", 1, 0.5);
    check_row(&rows, "change_in_bottom", "right", 1, 0.5);
    check_row(&rows, "change_in_top", "right", 4, 0.5);
    check_row(&rows, "amplification", "", 2, sqrt(0.125) / sqrt(64 + 0.25));
    check_row(&rows, "overlap_tuned", "left", 4, 1);
    for (size_t i = 0; i < rows.count; i++)
        assert_true(rows.row[i].k <= 2 || (strcmp(rows.row[i].quantity, "overlap_change") != 0 && strcmp(rows.row[i].quantity, "amplification") != 0));
    subspace_rows_release(&rows);
    CHECK_OK(subspace_report(&rows, dev, base, none, M, N, 40));
    for (size_t i = 0; i < rows.count; i++)
        assert_true(strstr(rows.row[i].quantity, "change") == NULL && strcmp(rows.row[i].quantity, "amplification") != 0);
    check_close("angle", row_at(&rows, "angle", "right", N, N, NAN).value, 0, 1e-15, 0);
    check_close("intruders", row_at(&rows, "intruders", "left", N, 0, 0.7).value, 0, 0, 0);
    subspace_rows_release(&rows);
}

static void test_subspaces_match_the_golden(void **state)
{
    const char *expected = test_data("golden/spectra/subspaces.json"), *matrices = test_data("golden/spectra/pairs.safetensors");
    StFile file = {0};
    json_t *doc, *pair;
    size_t i;

    (void)state;
    CHECK_OK(json_load_path(&doc, expected, 1 << 24));
    CHECK_OK(st_open(&file, matrices));
    json_array_foreach(json_object_get(doc, "pairs"), i, pair)
    {
        const json_t *shape = json_object_get(pair, "shape");
        Pair p = {0};

        open_pair(&p, &file, json_string_value(json_object_get(pair, "name")), json_integer_value(json_array_get(shape, 0)),
                  json_integer_value(json_array_get(shape, 1)));
        check_overlaps(&p, SIDE_LEFT, json_object_get(pair, "phi_left"));
        check_overlaps(&p, SIDE_RIGHT, json_object_get(pair, "phi_right"));
        check_angles(&p, SIDE_LEFT, json_object_get(pair, "angles8_left"));
        check_angles(&p, SIDE_RIGHT, json_object_get(pair, "angles8_right"));
        check_change(&p, pair);
        check_report(&p, pair);
        check_intruders(&p, pair);
        close_pair(&p);
    }
    assert_int_equal(i, 4);
    st_close(&file);
    json_decref(doc);
}

/* Every single allocation may fail: the code says so, and nothing leaks. */
static void test_report_survives_a_lack_of_memory(void **state)
{
    static const double base[] = {3, 1, 0, 2, 1, 1};
    SubspaceRows rows = {0};
    Status st = LT_E_NOMEM;

    (void)state;
    const int64_t held = mem_held();
    for (uint64_t n = 1; st != LT_OK; n++) {
        double change[] = {1, 0, 0, 0, 0, 1};

        mem_fail_at(n);
        st = subspace_report(&rows, dev, base, change, 2, 3, 2);
        mem_fail_at(0);
        subspace_rows_release(&rows);
        if (st != LT_OK)
            CHECK_FAILS(st, LT_E_NOMEM, NULL);
        assert_int_equal(mem_held(), held);
    }
}

/* ---- angles that are known ------------------------------------------------------------------------------------------------ */

/* Vectors as columns or as rows, on the device. */
typedef struct Vectors {
    TensorArena arena;
    Space space;
} Vectors;

/* v: n vectors of dim elements, one after the other. */
static Vectors send(Side side, const double *v, int64_t n, int64_t dim)
{
    const int64_t rows = side == SIDE_LEFT ? dim : n, cols = side == SIDE_LEFT ? n : dim;
    double *turned = matrix_numbers(n * dim);
    Vectors out;

    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < cols; j++)
            turned[i * cols + j] = side == SIDE_LEFT ? v[j * dim + i] : v[i * dim + j];
    out.space.side = side;
    tensor_arena_plan(&out.arena, dev);
    CHECK_OK(tensor_arena_take(&out.arena, &out.space.t, LT_F64, rows, cols));
    CHECK_OK(tensor_arena_open(&out.arena, dev, out.arena.used));
    CHECK_OK(tensor_arena_take(&out.arena, &out.space.t, LT_F64, rows, cols));
    CHECK_OK(device_upload(dev, out.space.t, turned));
    mem_free(turned);
    return out;
}

/* Axes 0..3 against axes 0..2 turned by known angles towards axes 4..6, listed in another order: the angles come back with all their digits, whichever
 * of the spaces comes first and whichever side they lie on. */
static void test_angles_keep_their_digits(void **state)
{
    enum { DIM = 9 };
    static const double known[][3] = {{1e-12, 1e-7, 1e-3}, {0, 0.7853, 0.7855}, {1e-300, 1.5, 1.5707963267948966}, {1e-15, 3e-9, 0.1}};
    static const int order[] = {2, 0, 1};

    (void)state;
    for (size_t c = 0; c < sizeof known / sizeof *known; c++)
        for (int turn = 0; turn < 4; turn++) {
            double a[4 * DIM] = {0}, b[3 * DIM] = {0}, theta[3];

            for (int i = 0; i < 4; i++)
                a[i * DIM + i] = 1;
            for (int i = 0; i < 3; i++) {
                b[order[i] * DIM + i] = cos(known[c][i]);
                b[order[i] * DIM + 4 + i] = sin(known[c][i]);
            }
            Vectors first = send((Side)(turn % 2), a, 4, DIM), second = send((Side)(turn % 2), b, 3, DIM);
            CHECK_OK(subspace_angles(dev, theta, turn < 2 ? first.space : second.space, turn < 2 ? second.space : first.space));
            for (int i = 0; i < 3; i++)
                check_close("angle", theta[i], known[c][i], 1e-15, 0);
            tensor_arena_close(&first.arena);
            tensor_arena_close(&second.arena);
        }
}

/* Distances of a few small angles, beside their series: 1 - prod cos^2 is the sum of squares up to terms of the fourth order. */
static void test_distances_of_small_angles(void **state)
{
    static const double theta[] = {2e-9, 3e-9, 6e-9};
    const SubspaceDistance d = subspace_distance(theta, 3), square = subspace_distance((const double[]){1.5707963267948966}, 1);

    (void)state;
    check_close("geodesic", d.geodesic, 7e-9, 0, 1e-15);
    check_close("chordal", d.chordal, 7e-9, 0, 1e-15);
    check_close("binet-cauchy", d.binet_cauchy, 7e-9, 0, 1e-15);
    check_close("projection", d.projection, 6e-9, 0, 1e-15);
    check_close("binet-cauchy of a right angle", square.binet_cauchy, 1, 0, 0);
}

/* ---- chance --------------------------------------------------------------------------------------------------------------- */

/* An orthonormal basis of a random space: the left vectors of Gaussian noise. */
static void random_space(Svd *svd, TestRandom *random, int64_t m, int64_t n)
{
    double *value = matrix_numbers(m * n);

    for (int64_t i = 0; i < m * n; i++)
        value[i] = test_normal(random);
    CHECK_OK(svd_open(svd, dev, value, m, n));
    mem_free(value);
}

/* Fifty pairs of random spaces of 10 and 6 dimensions in 60. The overlap has a mean of 1/6 and, cosines^2 having a mean of 1/60 and an sd of sqrt(2)/60,
 * an sd of at most sqrt(60) sqrt(2)/60 / 6 = 0.03 a pair (the cosines of one space are bound to one another, which makes it less): 0.0043 over fifty. The
 * bounds lie four of these away. */
static void test_chance_is_what_random_spaces_have(void **state)
{
    enum { ROUNDS = 50, DIM = 60 };
    TestRandom random = {20};
    double overlap = 0, chordal2 = 0, few = 0, many = 0, cosine[DIM * 6], theta[6], margin;

    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        Nearest nearest[6];
        Svd a, b;

        random_space(&a, &random, DIM, DIM);
        random_space(&b, &random, DIM, 6);
        const Space six = svd_space(&b, SIDE_LEFT, 0, 6), ten = svd_space(&a, SIDE_LEFT, 0, 10);
        CHECK_OK(subspace_cosines(dev, cosine, svd_space(&a, SIDE_LEFT, 0, DIM), six));
        CHECK_OK(subspace_angles(dev, theta, ten, six));
        const double d = subspace_distance(theta, 6).chordal;
        check_close("1 - d^2 / p", 1 - d * d / 6, subspace_overlap(cosine, 6, 10, 6), 1e-13, 0);
        overlap += subspace_overlap(cosine, 6, 10, 6) / ROUNDS;
        chordal2 += d * d / ROUNDS;
        subspace_nearest(nearest, cosine, DIM, 6);
        few += (double)subspace_intruders(nearest, 6, 0.32, &margin) / ROUNDS;
        many += (double)subspace_intruders(nearest, 6, 0.4, &margin) / ROUNDS;
        svd_close(&a);
        svd_close(&b);
    }
    check_close("overlap", overlap, subspace_overlap_chance(10, 6, DIM), 4 * 0.0043, 0);
    const double sine = sin(subspace_angle_chance(10, 6, DIM));
    check_close("chordal^2", chordal2, 6 * sine * sine, 6 * 4 * 0.0043, 0);
    /* A share of 300 vectors: an sd of at most 0.5 / sqrt(300) = 0.029. The normal numbers' tails are heavier than the true cosines', which in 60 dimensions
     * makes the share too low by 0.036 and 0.029 (the density of a true one is in proportion to (1 - c^2)^((60 - 3) / 2)). */
    check_close("intruders at 0.32", few / 6, subspace_intruders_chance(6, 0.32, DIM, DIM) / 6, 4 * 0.029 + 0.036, 0);
    check_close("intruders at 0.4", many / 6, subspace_intruders_chance(6, 0.4, DIM, DIM) / 6, 4 * 0.029 + 0.029, 0);
    print_message("overlap %.4f, intruders %.3f and %.3f of 6, by chance %.4f, %.3f and %.3f\n", overlap, few, many, 1.0 / 6,
                  subspace_intruders_chance(6, 0.32, DIM, DIM), subspace_intruders_chance(6, 0.4, DIM, DIM));
}

/* A change along the base's own vectors, and one that avoids them. */
static void test_alignment_at_its_ends(void **state)
{
    static const double sigma[] = {4, 3, 1e-200}, along[] = {1, 0, 0, 0, 1, 0}, across[6] = {0}, nothing[3] = {0};

    (void)state;
    check_close("along", subspace_alignment(along, 2, sigma, 3), 1, 1e-15, 0);
    check_close("along the first", subspace_alignment(along, 1, sigma, 3), 16.0 / 25, 1e-15, 0);
    check_close("across", subspace_alignment(across, 2, sigma, 3), 0, 0, 0);
    assert_true(isnan(subspace_alignment(along, 2, nothing, 3)));
}

static void test_svd_names_what_is_not_finite(void **state)
{
    const double bad[] = {1, 2, NAN, 4};
    Svd svd;

    (void)state;
    CHECK_FAILS(svd_open(&svd, dev, bad, 2, 2), LT_E_NUMERIC, "a[1, 0]");
    svd_close(&svd); /* left as after a close */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_subspaces_match_the_golden, open_device),
        cmocka_unit_test(test_report_of_made_changes),
        cmocka_unit_test(test_report_survives_a_lack_of_memory),
        cmocka_unit_test(test_angles_keep_their_digits),
        cmocka_unit_test(test_distances_of_small_angles),
        cmocka_unit_test(test_chance_is_what_random_spaces_have),
        cmocka_unit_test(test_alignment_at_its_ends),
        cmocka_unit_test_teardown(test_svd_names_what_is_not_finite, close_device),
    };
    return TEST_MAIN(tests);
}
