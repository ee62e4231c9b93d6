/* results.tsv to curves: the paper's tables, made ones with noise, and those that are refused. */
#include "tests/check.h"

#include "analysis/curve.h"
#include "analysis/stats/bootstrap.h"
#include "core/file.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const char *results; /* the folder of the last results_of */

static const char *results_of(const char *text)
{
    results = test_folder();
    test_file(results, "results.tsv", text, strlen(text));
    return results;
}

static CurveOptions usual_options(const char *folder)
{
    static char out[4096];

    snprintf(out, sizeof out, "%s/curves.tsv", test_folder());
    return (CurveOptions){.results = folder, .out = out, .source = "hellaswag:acc,winogrande:acc", .line = "method,rank,targets", .chance = NAN, .threads = 1};
}

/* The cell of the one row with these; NULL for any. */
static const char *cell_of(const Tsv *t, const char *condition, const char *rank, const char *label, const char *quantity, const char *column)
{
    const char *found = NULL;

    for (size_t row = 0; row < t->n_row; row++) {
        if ((condition != NULL && strcmp(tsv_get(t, row, "condition"), condition) != 0) || (rank != NULL && strcmp(tsv_get(t, row, "rank"), rank) != 0) ||
            strcmp(tsv_get(t, row, "label"), label) != 0 || strcmp(tsv_get(t, row, "quantity"), quantity) != 0)
            continue;
        if (found != NULL)
            fail_msg("two rows of %s %s", label, quantity);
        found = tsv_get(t, row, column);
    }
    if (found == NULL)
        fail_msg("no row of '%s' %s", label, quantity);
    return found;
}

static double number_of(const Tsv *t, const char *label, const char *quantity, const char *column)
{
    return atof(cell_of(t, NULL, NULL, label, quantity, column));
}

/* ---- the paper ---------------------------------------------------------------------------------------------------------- */

/* Published hypervolumes have five digits behind the point, and so do the sums of products of the tables' three: a half may go either way. */
static const double FIVE_DIGITS = 0.5e-5 + 1e-12;

static void check_hypervolumes(const Tsv *t, const char *condition, const double want[5])
{
    static const char *const method[] = {"lora", "lora", "lora", "full", ""}, *const rank[] = {"16", "64", "256", "", ""};
    int n = 0;

    for (size_t row = 0; row < t->n_row; row++) {
        if (strcmp(tsv_get(t, row, "quantity"), "hypervolume") != 0 || strcmp(tsv_get(t, row, "condition"), condition) != 0)
            continue;
        assert_string_equal(tsv_get(t, row, "method"), method[n]);
        assert_string_equal(tsv_get(t, row, "rank"), rank[n]);
        check_close(condition, atof(tsv_get(t, row, "value")), want[n], FIVE_DIGITS, 0);
        n++;
    }
    assert_int_equal(n, 5);
}

/* The checkpoints on a condition's front, as "16@4 full@8 ", in the order of the table. */
static void list_front(StrBuf *out, const Tsv *t, const char *condition)
{
    strbuf_clear(out);
    for (size_t row = 0; row < t->n_row; row++)
        if (strcmp(tsv_get(t, row, "quantity"), "front") == 0 && strcmp(tsv_get(t, row, "condition"), condition) == 0 && atof(tsv_get(t, row, "value")) == 1) {
            const double x = atof(tsv_get(t, row, "x"));
            const char *rank = tsv_get(t, row, "rank");
            strbuf_addf(out, "%s@%g ", *rank != '\0' ? rank : "full", x > 1e6 ? x / 1e9 : x);
        }
    CHECK_OK(strbuf_status(out));
}

static void test_curves_of_the_paper(void **state)
{
    static const struct {
        const char *condition;
        double hypervolume[5];
        const char *front;
    } want[] = {
        {"code_cpt", {.00342, .00781, .01120, .01250, .01441}, "16@4 16@8 16@16 64@2 64@8 256@8 256@16 256@20 full@8 full@20 "},
        {"code_ift", {.05550, .06866, .09008, .06289, .09011}, "64@4 256@2 256@4 "},
        {"math_cpt", {.00091, .00135, .00188, .00377, .00401}, "16@1 16@4 64@0.5 64@16 256@4 full@4 full@8 full@20 "},
        {"math_ift", {.05417, .05523, .05444, .04919, .06070}, "16@1 16@2 16@4 64@2 64@4 full@2 full@4 "},
    };
    static const char *const reference[] = {"math_ift=0.5,0.145"}, *const target[] = {"code_cpt=0.218"};
    CurveOptions o = usual_options("recipes/paper");
    StrBuf front;
    Tsv t;

    (void)state;
    o.source = "forgetting:mean";
    o.reference = (CurveSettings){reference, 1};
    o.target = (CurveSettings){target, 1};
    o.n_draw = 100; /* and yet no intervals: the tables have no errors */
    CHECK_OK(curve_run(&t, &o));
    strbuf_init(&front);
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        check_hypervolumes(&t, want[i].condition, want[i].hypervolume);
        list_front(&front, &t, want[i].condition);
        assert_string_equal(front.data, want[i].front);
    }
    check_close("from its best", number_of(&t, "code_cpt/full/20B", "forgetting_from_best", "value"), 0.625 - 0.545, 1e-15, 0);
    /* Rank 256 reaches what full fine-tuning has at 4 B tokens, 0.218, between 16 (0.211) and 20 (0.224). */
    check_close("tokens", atof(cell_of(&t, "code_cpt", "256", "", "to_target", "value")), 16e9 * exp2(7.0 / 13 * log2(1.25)), 0, 1e-9);
    check_close("gap", atof(cell_of(&t, "code_cpt", "256", "", "to_target_ratio", "value")), 4.5, 0.05, 0);
    check_close("forgotten there", atof(cell_of(&t, "code_cpt", "256", "", "forgetting_at_target", "value")), 0.671 - 0.618 + 7.0 / 13 * 0.001, 1e-9, 0);
    assert_string_equal(cell_of(&t, "code_cpt", "256", "", "hypervolume", "at"), "0.5,0.138");
    assert_string_equal(cell_of(&t, "code_cpt", NULL, "code_cpt/full/20B", "learning", "ci_low"), "");
    assert_string_equal(cell_of(&t, "code_cpt", NULL, "code_cpt/full/20B", "learning", "noise"), "");
    strbuf_release(&front);
    tsv_release(&t);
}

/* ---- made tables -------------------------------------------------------------------------------------------------------- */

#define HEADER "label\tcondition\tmethod\trank\ttargets\ttokens\ttask\tmetric\tfilter\tdtype\tvalue\tstderr\n"
#define BASE                                                                                                                                           \
    "base\t\tbase\t\t\t\thumaneval\tpass@1\tnone\tf32\t0.2\t0.03\n"                                                                                      \
    "base\t\tbase\t\t\t\thellaswag\tacc\tnone\tf32\t0.7\t0.01\n"                                                                                         \
    "base\t\tbase\t\t\t\twinogrande\tacc\tnone\tf32\t0.6\t0.02\n"
#define POINT(LABEL, LINE, TOKENS, LEARNING, HELLASWAG, WINOGRANDE)                                                                                            \
    LABEL "\tc\t" LINE "\t" TOKENS "\thumaneval\tpass@1\tnone\tf32\t" LEARNING "\t0.03\n" LABEL "\tc\t" LINE "\t" TOKENS "\thellaswag\tacc\tnone\tf32\t" HELLASWAG    \
          "\t0.01\n" LABEL "\tc\t" LINE "\t" TOKENS "\twinogrande\tacc\tnone\tf32\t" WINOGRANDE "\t0.02\n"
#define LORA "lora\t16\tall"
#define FULL "full\t\t"
/* Without winogrande yet, and in another dtype. */
#define NARROW "a3\tc\t" LORA "\t4\thumaneval\tpass@1\tnone\tbf16\t0.3\t0.1\na3\tc\t" LORA "\t4\thellaswag\tacc\tnone\tf32\t0.3\t0.1\n"
#define STUDY HEADER BASE POINT("a2", LORA, "2", "0.3", "0.69", "0.58") POINT("a1", LORA, "1", "0.25", "0.7", "0.6") POINT("b1", FULL, "1", "0.35", "0.65", "0.55")

static void test_points_are_put_in_order(void **state)
{
    CurveOptions o = usual_options(results_of(STUDY));
    Tsv t;

    (void)state;
    o.chance = 0.375;
    CHECK_OK(curve_run(&t, &o));
    check_close("forgetting", number_of(&t, "a2", "forgetting", "value"), 0.65 - 0.635, 1e-15, 0);
    check_close("relative", number_of(&t, "a2", "forgetting_relative", "value"), 0.015 / (0.65 - 0.375), 1e-14, 0);
    check_close("from a1", number_of(&t, "a2", "forgetting_from_best", "value"), 0.015, 1e-15, 0);
    check_close("exchange", number_of(&t, "a2", "exchange_rate", "value"), 0.15, 1e-14, 0);
    check_close("area", atof(cell_of(&t, "c", "16", "", "area", "value")), 0.275, 1e-15, 0);
    check_close("slope", atof(cell_of(&t, "c", "16", "", "forgetting_slope", "value")), 0.3, 1e-14, 0);
    check_close("r2", atof(cell_of(&t, "c", "16", "", "forgetting_r2", "value")), 1, 1e-14, 0);
    /* What every line reaches is 0.3: at its second point for rank 16, before the first for full. */
    check_close("target", atof(cell_of(&t, "c", "16", "", "to_target", "value")), 2, 0, 0);
    check_close("ratio", atof(cell_of(&t, "c", "16", "", "to_target_ratio", "value")), 2, 0, 0);
    assert_string_equal(cell_of(&t, "c", "16", "", "to_target", "at"), "0.3");
    assert_string_equal(cell_of(&t, "c", "16", "", "hypervolume", "at"), "0.55,0.2"); /* 0.6 is the worst, itself a multiple of 0.05 */
    check_close("base", number_of(&t, "base", "source", "value"), 0.65, 1e-15, 0);
    assert_string_equal(cell_of(&t, NULL, NULL, "a1", "learning", "draws"), "");
    tsv_release(&t);
}

static void test_terms_can_be_named(void **state)
{
    static const char *const reference[] = {"0.1,0.1", "c=0.5,12e-2", "0.2,0.2"}, *const learning[] = {"humaneval:pass@1:none"};
    CurveOptions o = usual_options(results_of(STUDY));
    Tsv t;

    (void)state;
    o.x = "tokens";
    o.reference = (CurveSettings){reference, 3};
    o.learning = (CurveSettings){learning, 1};
    CHECK_OK(curve_run(&t, &o));
    assert_string_equal(cell_of(&t, "c", "16", "", "hypervolume", "at"), "0.5,0.12");
    assert_string_equal(cell_of(&t, "c", "16", "", "hypervolume", "x_name"), "tokens");
    tsv_release(&t);
}

/* How far an end of a 95 % interval of n normal draws lies off: four standard deviations of its share, over the density there. */
static double end_reach(double se, size_t n) { return 4 * sqrt(0.025 * 0.975 / (double)n) * se / (exp(-STAT_Z95 * STAT_Z95 / 2) / sqrt(2 * M_PI)); }

static void check_normal(const Tsv *t, const char *label, const char *quantity, double se, size_t n)
{
    const double value = number_of(t, label, quantity, "value");

    check_close(quantity, number_of(t, label, quantity, "draw_mean"), value, 4 * se / sqrt((double)n), 0);
    check_close(quantity, number_of(t, label, quantity, "ci_low"), value - STAT_Z95 * se, end_reach(se, n), 0);
    check_close(quantity, number_of(t, label, quantity, "ci_high"), value + STAT_Z95 * se, end_reach(se, n), 0);
}

static void test_standard_errors_make_intervals(void **state)
{
    CurveOptions o = usual_options(results_of(STUDY));
    const double source = hypot(0.01, 0.02) / 2;
    Tsv t;

    (void)state;
    o.n_draw = 4000;
    CHECK_OK(curve_run(&t, &o));
    check_normal(&t, "a1", "learning", 0.03, o.n_draw);
    check_normal(&t, "b1", "source", source, o.n_draw);
    check_normal(&t, "b1", "forgetting", source * sqrt(2), o.n_draw);
    assert_string_equal(cell_of(&t, NULL, NULL, "a1", "learning", "noise"), "stderr");
    assert_string_equal(cell_of(&t, NULL, NULL, "a1", "learning", "draws"), "4000");
    /* On the front of replicates sometimes, hence no interval but a share. b1 has the best learning score. */
    const double on = number_of(&t, "b1", "front", "draw_mean");
    assert_true(on > 0.5 && on < 1 && *cell_of(&t, NULL, NULL, "b1", "front", "ci_low") == '\0');
    tsv_release(&t);
}

/* ---- items -------------------------------------------------------------------------------------------------------------- */

enum { ITEMS = 40 };

/* A samples file whose items are right where `right` says so, and wrong in the lines of another filter. */
static void write_samples(const char *label, const char *task, const char *metric, const char *right, int first_doc)
{
    char folder[4096], name[128];
    StrBuf text;

    strbuf_init(&text);
    for (int i = 0; i < ITEMS; i++)
        strbuf_addf(&text, "{\"doc_id\": %d, \"filter\": \"none\", \"%s\": %c.0}\n{\"doc_id\": %d, \"filter\": \"loose\", \"%s\": 0.0}\n", first_doc + i, metric,
                    right[i], first_doc + i, metric);
    CHECK_OK(strbuf_status(&text));
    snprintf(folder, sizeof folder, "%s/%s", results, label);
    snprintf(name, sizeof name, "samples_%s_2026-01-02T03-04-05.jsonl", task);
    test_file(folder, name, text.data, text.len);
    strbuf_release(&text);
}

static void made_items(char right[ITEMS + 1], uint64_t seed)
{
    TestRandom random = {seed};

    for (int i = 0; i < ITEMS; i++)
        right[i] = test_random(&random) % 3 == 0 ? '0' : '1';
    right[ITEMS] = '\0';
}

static double share(const char *right)
{
    double sum = 0;
    for (int i = 0; i < ITEMS; i++)
        sum += right[i] - '0';
    return sum / ITEMS;
}

/* Base, and a checkpoint "m/x" that answers hellaswag alike and humaneval otherwise. */
static const char *items_study(StrBuf *text, const char *base, const char *tuned, const char *source)
{
    static const char *const label[] = {"base", "m/x"}, *const folder[] = {"base", "m__x"};
    const char *learning[] = {base, tuned};

    strbuf_init(text);
    strbuf_add_text(text, HEADER);
    for (int i = 0; i < 2; i++) {
        const char *origin = i == 0 ? "\tbase\t\t\t" : "c\tlora\t16\tall\t5";

        strbuf_addf(text, "%s\t%s\thumaneval\tpass@1\tnone\tf32\t%.17g\t0.1\n", label[i], origin, share(learning[i]));
        strbuf_addf(text, "%s\t%s\thellaswag\tacc\tnone\tf32\t%.17g\t0.1\n", label[i], origin, share(source));
    }
    CHECK_OK(strbuf_status(text));
    results_of(text->data);
    for (int i = 0; i < 2; i++) {
        write_samples(folder[i], "humaneval", "pass@1", learning[i], 0);
        write_samples(folder[i], "hellaswag", "acc", source, 0);
    }
    return results;
}

static void test_items_are_drawn_together(void **state)
{
    char base[ITEMS + 1], tuned[ITEMS + 1], source[ITEMS + 1];
    double value[ITEMS * 2], mean[500 * 2], sorted[500];
    StrBuf text;
    Pool *pool;
    Tsv t, again;

    (void)state;
    made_items(base, 1), made_items(tuned, 2), made_items(source, 3);
    CurveOptions o = usual_options(items_study(&text, base, tuned, source));
    o.source = "hellaswag:acc", o.n_draw = 500, o.seed = 9;
    CHECK_OK(curve_run(&t, &o));
    assert_string_equal(cell_of(&t, NULL, NULL, "m/x", "learning", "noise"), "items");
    assert_true(number_of(&t, "m/x", "forgetting", "ci_low") == 0 && number_of(&t, "m/x", "forgetting", "ci_high") == 0);
    assert_true(number_of(&t, "m/x", "source", "ci_high") > number_of(&t, "m/x", "source", "ci_low"));

    for (int i = 0; i < ITEMS; i++)
        value[2 * i] = tuned[i] - '0', value[2 * i + 1] = base[i] - '0';
    CHECK_OK(pool_create(&pool, 1));
    CHECK_OK(bootstrap_means(mean, &(Resampling){.value = value, .n_unit = ITEMS, .n_series = 2, .n_draw = 500, .seed = 9}, pool));
    bootstrap_sorted(sorted, mean, 500, 2, 0);
    assert_true(number_of(&t, "m/x", "learning", "ci_low") == bootstrap_percentile(sorted, 500, 0.95).low);
    pool_free(pool);

    o.threads = 3;
    CHECK_OK(curve_run(&again, &o));
    assert_int_equal(again.n_row, t.n_row);
    for (size_t row = 0; row < t.n_row; row++)
        for (size_t c = 0; c < t.n_column; c++)
            assert_string_equal(tsv_get(&t, row, t.column[c]), tsv_get(&again, row, t.column[c]));
    tsv_release(&again);
    tsv_release(&t);
    strbuf_release(&text);
}

/* Files that are not of the rows beside them: the standard errors have to do. */
static void test_other_items_are_not_taken(void **state)
{
    char base[ITEMS + 1], tuned[ITEMS + 1], source[ITEMS + 1], turned[ITEMS + 1];
    StrBuf text;
    Tsv t;

    (void)state;
    made_items(base, 1), made_items(tuned, 2), made_items(source, 3);
    memcpy(turned, tuned, sizeof turned);
    turned[0] = turned[0] == '0' ? '1' : '0';
    for (int trouble = 0; trouble < 4; trouble++) {
        CurveOptions o = usual_options(items_study(&text, base, tuned, source));

        if (trouble == 0)
            write_samples("m__x", "humaneval", "pass@1", turned, 0); /* another mean */
        else if (trouble == 1)
            write_samples("m__x", "humaneval", "pass@1", tuned, 7); /* other documents */
        else if (trouble == 2)
            write_samples("m__x", "humaneval", "pass@10", tuned, 0); /* another metric */
        o.source = "hellaswag:acc", o.n_draw = 50;
        CHECK_OK(curve_run(&t, &o));
        assert_string_equal(cell_of(&t, NULL, NULL, "m/x", "learning", "noise"), trouble < 3 ? "stderr" : "items");
        tsv_release(&t);
        strbuf_release(&text);
    }
    /* The last one is read, and it is cut off. */
    test_file(results, "m__x/samples_humaneval_2027-01-01T00-00-00.jsonl", "{\"doc_id\": 1", 12);
    CurveOptions o = usual_options(results);
    o.source = "hellaswag:acc", o.n_draw = 50;
    CHECK_FAILS(curve_run(&t, &o), LT_E_INPUT, "samples_humaneval_2027-01-01T00-00-00.jsonl");
}

/* ---- refused ------------------------------------------------------------------------------------------------------------ */

typedef struct Refused {
    const char *table, *message;
    Status status;
    const char *source, *line, *base, *x; /* what differs from the usual */
    const char *learning, *reference, *target;
} Refused;

static void check_refused(const Refused *r)
{
    CurveOptions o = usual_options(results_of(r->table));
    Tsv t;

    o.source = r->source != NULL ? r->source : o.source;
    o.line = r->line != NULL ? r->line : o.line;
    o.base = r->base;
    o.x = r->x;
    o.learning = (CurveSettings){&r->learning, r->learning != NULL};
    o.reference = (CurveSettings){&r->reference, r->reference != NULL};
    o.target = (CurveSettings){&r->target, r->target != NULL};
    CHECK_FAILS(curve_run(&t, &o), r->status, r->message);
}

static void test_tables_are_refused_with_a_reason(void **state)
{
    static const Refused cases[] = {
        {.table = "", .message = "expected a line with the names of the columns", .status = LT_E_INPUT},
        {.table = "label\tcondition\tmethod\n", .message = "results.tsv: expected a column 'task', found none", .status = LT_E_INPUT},
        {.table = "label\tcondition\tmethod\trank\ttargets\ttask\tmetric\tfilter\n", .message = "expected a column 'value', found none", .status = LT_E_INPUT},
        {.table = STUDY, .message = "expected a column 'seed', found none", .status = LT_E_INPUT, .line = "method,seed"},
        {.table = STUDY, .message = "expected a column 'step', found none", .status = LT_E_INPUT, .x = "step"},
        {.table = HEADER, .message = "expected a row with method 'base', found none: name the base with --base LABEL", .status = LT_E_INPUT},
        {.table = HEADER BASE, .message = "expected checkpoints beside the base 'base', found none", .status = LT_E_INPUT},
        {.table = STUDY, .message = "expected a row with label 'q', found none", .status = LT_E_INPUT, .base = "q"},
        {.table = STUDY "base2\t\tbase\t\t\t\tx\ty\tnone\tf32\t1\t\n", .message = "expected one base, found 'base' and 'base2'", .status = LT_E_INPUT},
        {.table = STUDY POINT("a1", LORA, "1", "0.26", "0.7", "0.6"), .message = "lines 8 and 14: expected one score humaneval:pass@1 of 'a1', found two", .status = LT_E_INPUT},
        {.table = STUDY POINT("a3", LORA, "2", "0.26", "0.7", "0.6"), .message = "'a2' and 'a3' are one line and both at tokens 2", .status = LT_E_INPUT},
        {.table = STUDY POINT("a3", LORA, "4", "much", "0.7", "0.6"), .message = "line 14: column 'value': expected a number, found 'much'", .status = LT_E_INPUT},
        {.table = STUDY POINT("a3", LORA, "", "0.3", "0.7", "0.6"), .message = "line 14: column 'tokens': expected a number above 0 for 'a3', found ''", .status = LT_E_INPUT},
        {.table = STUDY POINT("a3", LORA, "0", "0.3", "0.7", "0.6"), .message = "line 14: column 'tokens': expected a number above 0 for 'a3', found '0'", .status = LT_E_INPUT},
        {.table = STUDY NARROW "a3\tc\t" LORA "\t4\twinogrande\tacc\tnone\tf32\t0.3\t0.1\n",
         .message = "humaneval:pass@1: dtype 'f32' for 'a2' but 'bf16' for 'a3' (--mixed", .status = LT_E_INPUT},
        {.table = HEADER "b\t\tbase\t\t\t\thumaneval\tpass@1\tnone\tbf16\t0.2\t0\nb\t\tbase\t\t\t\thellaswag\tacc\tnone\tf32\t0.7\t0\n" POINT("a", LORA, "1", "0", "1", "1"),
         .message = "dtype 'f32' for 'a' but 'bf16' for 'b'", .status = LT_E_INPUT, .source = "hellaswag:acc"},
        {.table = STUDY, .message = "condition 'c': expected a checkpoint with all scores, found none with arc:acc", .status = LT_E_INPUT, .source = "arc:acc"},
        {.table = STUDY "z\td\t" LORA "\t1\tgsm8k\tacc\tnone\tf32\t1\t\n",
         .message = "condition 'd' has no score humaneval:pass@1 or gsm8k:exact_match:strict-match: name what",
         .status = LT_E_USAGE},
        {.table = STUDY "z\tc\t" LORA "\t1\tgsm8k\texact_match\tstrict-match\tf32\t1\t\n",
         .message = "condition 'c' has scores humaneval:pass@1 and gsm8k:exact_match:strict-match: choose",
         .status = LT_E_USAGE},
        {.table = STUDY, .message = "'hellaswag': expected TASK:METRIC or TASK:METRIC:FILTER", .status = LT_E_USAGE, .source = "hellaswag"},
        {.table = STUDY, .message = "'a:b,,c:d': expected source scores", .status = LT_E_USAGE, .source = "a:b,,c:d"},
        {.table = STUDY, .message = "'d=humaneval:pass@1': ", .status = LT_E_USAGE, .learning = "d=humaneval:pass@1"},
        {.table = STUDY, .message = "expected SOURCE,LEARNING, found '0.5'", .status = LT_E_USAGE, .reference = "c=0.5"},
        {.table = STUDY, .message = "expected SOURCE,LEARNING, found '0.5", .status = LT_E_USAGE, .reference = "0.500000000000000000000000000000,1"},
        {.table = STUDY, .message = "expected two numbers SOURCE,LEARNING, found '0.5,x'", .status = LT_E_USAGE, .reference = "0.5,x"},
        {.table = STUDY, .message = "expected a learning score, found 'high'", .status = LT_E_USAGE, .target = "high"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_refused(&cases[i]);
}

static void test_incomplete_and_mixed_points(void **state)
{
    static const char table[] = STUDY NARROW;
    CurveOptions o = usual_options(results_of(table));
    Tsv t;

    (void)state;
    CHECK_OK(curve_run(&t, &o));
    for (size_t row = 0; row < t.n_row; row++)
        assert_string_not_equal(tsv_get(&t, row, "label"), "a3");
    tsv_release(&t);
    o.source = "hellaswag:acc";
    o.mixed = true;
    CHECK_OK(curve_run(&t, &o));
    check_close("a3", number_of(&t, "a3", "source", "value"), 0.3, 0, 0);
    tsv_release(&t);
}

static void test_memory_may_end_anywhere(void **state)
{
    CurveOptions o = usual_options(results_of(STUDY));
    int64_t held;
    Status st = LT_E_NOMEM;
    Tsv t;

    (void)state;
    o.n_draw = 20;
    held = mem_held();
    for (uint64_t n = 1; st != LT_OK; n++) {
        mem_fail_at(n);
        st = curve_run(&t, &o);
        assert_true(st == LT_OK || st == LT_E_NOMEM);
        status_clear();
        if (st == LT_OK)
            tsv_release(&t);
        assert_int_equal(mem_held(), held);
    }
    mem_fail_at(0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_curves_of_the_paper),
        cmocka_unit_test(test_points_are_put_in_order),
        cmocka_unit_test(test_terms_can_be_named),
        cmocka_unit_test(test_standard_errors_make_intervals),
        cmocka_unit_test(test_items_are_drawn_together),
        cmocka_unit_test(test_other_items_are_not_taken),
        cmocka_unit_test(test_tables_are_refused_with_a_reason),
        cmocka_unit_test(test_incomplete_and_mixed_points),
        cmocka_unit_test(test_memory_may_end_anywhere),
    };

    return TEST_MAIN(tests);
}
