#include "tests/world/rows.h"

#include "core/json.h"

/* One line; takes the row over. NULL: json_pack had no memory. */
static Status add_line(StrBuf *out, json_t *row)
{
    if (row == NULL)
        return FAIL(LT_E_NOMEM, "no memory for a row");
    Status st = json_write(out, row, (JsonStyle){.indent = -1});
    json_decref(row);
    strbuf_add_char(out, '\n');
    return st == LT_OK ? strbuf_status(out) : st;
}

/* ---- HellaSwag ---- */

typedef struct Scene {
    int thing, verb[4], gold;
    const char *name, *place;
} Scene;

static Scene make_scene(Language *l)
{
    Scene s = {.thing = language_pick(l, N_THING), .gold = language_pick(l, 4)};
    s.name = l->name[language_pick(l, N_NAME)];
    s.place = l->place[language_pick(l, N_PLACE)];
    language_choose(l, s.verb, 4, N_VERB, l->verb_of[s.thing]);
    /* The true verb was drawn first; it belongs at the gold place. */
    const int other = s.verb[s.gold];
    s.verb[s.gold] = s.verb[0];
    s.verb[0] = s.gold == 0 ? s.verb[0] : other;
    return s;
}

/* Video captions: two sentences, the second of which is left open. */
static json_t *caption_row(Language *l, const Scene *s, int i, StrBuf *first, StrBuf *second, StrBuf *label)
{
    const char *thing = l->thing[s->thing], *trait = l->trait[l->trait_of[s->thing]];
    strbuf_addf(label, "Keeping a %s", thing);
    strbuf_addf(first, "%s walks to the %s with a %s %s.%s", s->name, s->place, trait, thing, i % 10 == 4 ? "\xc2\xa0" : "");
    strbuf_addf(second, i % 10 == 1 ? "THE %s of %s" : "the %s", thing, s->name);
    json_t *endings = json_array();
    for (int k = 0; k < 4; k++)
        json_array_append_new(endings, json_sprintf(i % 5 == 2 ? "%ss near  the %s." : "%ss near the %s.", l->verb[s->verb[k]], s->place));
    return endings;
}

/* Instructions: marks in brackets, nothing in ctx_b. */
static json_t *howto_row(Language *l, const Scene *s, int i, StrBuf *first, StrBuf *label)
{
    const char *thing = l->thing[s->thing];
    strbuf_addf(label, "Home and %s", l->place[l->place_of[s->thing]]);
    strbuf_addf(first, "[header] How to feed a %s [title] Ask %s first.  [step] %sGo to the %s.", thing, s->name,
                i % 8 == 3 ? "A [nested [mark] stays] here. " : "", l->place[l->place_of[s->thing]]);
    json_t *endings = json_array();
    for (int k = 0; k < 4; k++)
        json_array_append_new(endings, json_sprintf("%sWait until the %s %ss. [substeps] Then it is   %s.", k % 2 ? "[step] " : "", thing,
                                                    l->verb[s->verb[k]], l->trait[l->trait_of[s->thing]]));
    return endings;
}

static Status hellaswag_row(StrBuf *out, Language *l, int i, const char *split)
{
    StrBuf first, second, label, ctx;
    strbuf_init(&first);
    strbuf_init(&second);
    strbuf_init(&label);
    strbuf_init(&ctx);
    const Scene scene = make_scene(l);
    const bool howto = i % 4 == 3;
    json_t *endings = howto ? howto_row(l, &scene, i, &first, &label) : caption_row(l, &scene, i, &first, &second, &label);
    strbuf_add_str(&ctx, strbuf_str(&first));
    if (second.len > 0)
        strbuf_addf(&ctx, " %s", second.data);
    Status st = LT_E_NOMEM;
    if (strbuf_status(&first) == LT_OK && strbuf_status(&label) == LT_OK && strbuf_status(&ctx) == LT_OK && json_array_size(endings) == 4)
        st = add_line(out, json_pack("{s:i, s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:O, s:s}", "ind", i, "activity_label", label.data, "ctx_a",
                                     first.data, "ctx_b", second.len > 0 ? second.data : "", "ctx", ctx.data, "split", split, "split_type",
                                     i % 2 ? "indomain" : "zeroshot", "label", scene.gold, "endings", endings, "source_id",
                                     howto ? "howto~0" : "caption~0"));
    json_decref(endings);
    strbuf_release(&first);
    strbuf_release(&second);
    strbuf_release(&label);
    strbuf_release(&ctx);
    return st;
}

Status hellaswag_rows(StrBuf *out, Language *l, int n, const char *split)
{
    for (int i = 0; i < n; i++)
        TRY(hellaswag_row(out, l, i, split));
    return LT_OK;
}

/* ---- ARC ---- */

static Status arc_row(StrBuf *out, Language *l, int i, ArcForm form)
{
    const int thing = language_pick(l, N_THING), n = i % 7 == 3 ? 3 : i % 11 == 5 ? 5 : 4, gold = language_pick(l, n);
    const bool of_place = i % 2 != 0;
    int choice[5];
    language_choose(l, choice, n, of_place ? N_PLACE : N_TRAIT, of_place ? l->place_of[thing] : l->trait_of[thing]);
    const int other = choice[gold];
    choice[gold] = choice[0];
    choice[0] = gold == 0 ? choice[0] : other;

    json_t *texts = json_array(), *labels = json_array(), *pairs = json_array();
    char key[2] = "";
    for (int k = 0; k < n; k++) {
        const char letter[] = {(char)((i % 3 == 2 ? '1' : 'A') + k), '\0'};
        const char *text = of_place ? l->place[choice[k]] : l->trait[choice[k]];
        json_t *sentence = json_sprintf(of_place ? "in the %s" : "It is %s.", text);
        json_array_append(texts, sentence);
        json_array_append_new(labels, json_string(letter));
        json_array_append_new(pairs, json_pack("{s:o, s:s}", "text", sentence, "label", letter));
        if (k == gold)
            memcpy(key, letter, sizeof key);
    }
    json_t *stem = json_sprintf(of_place ? "Where does a %s live, as far as %s knows?" : "%2$s found a %1$s. What is it like?",
                                l->thing[thing], l->name[language_pick(l, N_NAME)]);
    json_t *id = json_sprintf("made_%d", i);
    json_t *row = form == ARC_RAW
                      ? json_pack("{s:O, s:{s:O, s:O}, s:s}", "id", id, "question", "stem", stem, "choices", pairs, "answerKey", key)
                      : json_pack("{s:O, s:O, s:{s:O, s:O}, s:s}", "id", id, "question", stem, "choices", "text", texts, "label", labels,
                                  "answerKey", key);
    json_decref(texts);
    json_decref(labels);
    json_decref(pairs);
    json_decref(stem);
    json_decref(id);
    return add_line(out, row);
}

Status arc_rows(StrBuf *out, Language *l, int n, ArcForm form)
{
    for (int i = 0; i < n; i++)
        TRY(arc_row(out, l, i, form));
    return LT_OK;
}

/* ---- WinoGrande ---- */

/* Twins: rows 2k and 2k + 1 differ in one verb and have different answers. */
static Status winogrande_twins(StrBuf *out, Language *l, int i, int n_row)
{
    int person[3], thing[2];
    language_choose(l, person, 3, N_NAME, -1);
    do
        language_choose(l, thing, 2, N_THING, -1);
    while (l->verb_of[thing[0]] == l->verb_of[thing[1]]);
    const char *name[] = {l->name[person[0]], l->name[person[1]], l->name[person[2]]};
    const int flip = language_pick(l, 2);
    for (int k = 0; k < n_row; k++) {
        const int right = k ^ flip;
        const char *verb = l->verb[l->verb_of[thing[right]]];
        json_t *sentence;
        if (i % 18 == 8)
            sentence = json_sprintf("%s has a %s,  %s has a %s; who learns to %s is _, says %s.", name[0], l->thing[thing[0]], name[1],
                                    l->thing[thing[1]], verb, name[2]);
        else
            sentence = json_sprintf("%s owns a %s and %s owns a %s, so _ often sees one %s.", name[0], l->thing[thing[0]], name[1],
                                    l->thing[thing[1]], verb);
        json_t *id = json_sprintf("MADE%d-%d", i / 2, k + 1);
        TRY(add_line(out, json_pack("{s:o, s:o, s:s, s:s, s:s}", "qID", id, "sentence", sentence, "option1", name[0], "option2", name[1],
                                    "answer", right == 0 ? "1" : "2")));
    }
    return LT_OK;
}

Status winogrande_rows(StrBuf *out, Language *l, int n)
{
    for (int i = 0; i < n; i += 2)
        TRY(winogrande_twins(out, l, i, n - i < 2 ? 1 : 2));
    return LT_OK;
}

/* ---- GSM8K ---- */

static Status gsm8k_row(StrBuf *out, Language *l, int i)
{
    const char *name = l->name[language_pick(l, N_NAME)], *thing = l->thing[language_pick(l, N_THING)];
    const char *place = l->place[language_pick(l, N_PLACE)];
    const int a = 2 + language_pick(l, 40), b = 2 + language_pick(l, 9);
    json_t *question, *answer;
    if (i % 5 == 4) { /* thousands: the final answer has a comma */
        const int more = 1000 + language_pick(l, 800), sum = more + a;
        question = json_sprintf("The %s holds %d %ss.  %s brings %d more. How many are there?", place, more, thing, name, a);
        answer = json_sprintf("There are %d+%d=<<%d+%d=%d>>%d of them.\n#### %d,%03d", more, a, more, a, sum, sum, sum / 1000, sum % 1000);
    } else {
        question = json_sprintf("%s keeps %d %ss at the %s and gives away %d. How many %ss are left?", name, a + b, thing, place, b, thing);
        answer = json_sprintf("%s starts with %d.\n%d-%d=<<%d-%d=%d>>%d are left.\n#### %d", name, a + b, a + b, b, a + b, b, a, a, a);
    }
    return add_line(out, json_pack("{s:o, s:o}", "question", question, "answer", answer));
}

Status gsm8k_rows(StrBuf *out, Language *l, int n)
{
    for (int i = 0; i < n; i++)
        TRY(gsm8k_row(out, l, i));
    return LT_OK;
}
