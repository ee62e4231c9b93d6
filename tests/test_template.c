/* Chat templates: by hand, against the reference's texts and ids, from files and folders. */
#include "tests/check.h"
#include "tests/tiny_tokenizer.h"

#include "core/file.h"
#include "core/json.h"
#include "core/mem.h"
#include "model/template.h"

#include <stdio.h>

#define SYSTEM(text)    ((ChatMessage){CHAT_SYSTEM, {(text), sizeof(text) - 1}})
#define USER(text)      ((ChatMessage){CHAT_USER, {(text), sizeof(text) - 1}})
#define ASSISTANT(text) ((ChatMessage){CHAT_ASSISTANT, {(text), sizeof(text) - 1}})
#define MESSAGES(...)   (const ChatMessage[]){__VA_ARGS__}, sizeof((const ChatMessage[]){__VA_ARGS__}) / sizeof(ChatMessage)

static const ChatTemplate *named(const char *name)
{
    const ChatTemplate *t = template_find(str_of(name));

    if (t == NULL)
        fail_msg("no template '%s'", name);
    return t;
}

static void check_text(const char *name, const ChatMessage *message, size_t n, TemplateEnd end, const char *want)
{
    StrBuf out;

    strbuf_init(&out);
    CHECK_OK(template_render(named(name), message, n, end, &out));
    check_str(strbuf_str(&out), want, strlen(want));
    strbuf_release(&out);
}

static void refuse(const char *name, const ChatMessage *message, size_t n, TemplateEnd end, const char *part)
{
    StrBuf out;

    strbuf_init(&out);
    CHECK_FAILS(template_render(named(name), message, n, end, &out), LT_E_INPUT, part);
    strbuf_release(&out);
}

static void test_render_chatml(void **state)
{
    (void)state;
    check_text("chatml", MESSAGES(USER(" a\n")), TEMPLATE_CLOSED, "<|im_start|>user\n a\n<|im_end|>\n");
    check_text("chatml", MESSAGES(USER("a"), SYSTEM("s"), USER("b")), TEMPLATE_GENERATE,
               "<|im_start|>user\na<|im_end|>\n<|im_start|>system\ns<|im_end|>\n<|im_start|>user\nb<|im_end|>\n<|im_start|>assistant\n");
    check_text("qwen2.5", MESSAGES(SYSTEM("")), TEMPLATE_CLOSED, "<|im_start|>system\n<|im_end|>\n");
    refuse("chatml", NULL, 0, TEMPLATE_CLOSED, "messages: expected at least one");
}

static void test_render_keeps_nul_in_content(void **state)
{
    StrBuf out;

    (void)state;
    strbuf_init(&out);
    CHECK_OK(template_render(named("zephyr"), MESSAGES(USER("a\0b")), TEMPLATE_CLOSED, &out));
    check_str(strbuf_str(&out), "<|user|>\na\0b</s>\n", 17);
    strbuf_release(&out);
}

static void test_render_open_leaves_the_answer_open(void **state)
{
    (void)state;
    check_text(
        "llama3", MESSAGES(USER("q"), ASSISTANT("The")), TEMPLATE_OPEN,
        "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nq<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nThe");
    refuse("llama3", MESSAGES(USER("q")), TEMPLATE_OPEN, "messages[0]: only an assistant's message");
}

/* Llama 2: the system message goes into the question, then both are stripped together. */
static void test_render_llama2(void **state)
{
    (void)state;
    check_text("llama2", MESSAGES(USER(" a "), ASSISTANT("b\n"), USER("c")), TEMPLATE_GENERATE,
               "<s>[INST] a [/INST] b </s><s>[INST] c [/INST]");
    check_text("llama2", MESSAGES(SYSTEM(" s "), USER(" a ")), TEMPLATE_CLOSED, "<s>[INST] <<SYS>>\n s \n<</SYS>>\n\n a [/INST]");
    refuse("llama2", MESSAGES(SYSTEM("s")), TEMPLATE_CLOSED,
           "messages[1]: chat template 'llama2' expects the role 'user' here, the end found");
    refuse("llama2", MESSAGES(SYSTEM("s"), ASSISTANT("a")), TEMPLATE_CLOSED,
           "messages[1]: chat template 'llama2' expects the role 'user' here, 'assistant' found");
    refuse("llama2", MESSAGES(USER("a"), USER("b")), TEMPLATE_CLOSED, "messages[1]");
    refuse("llama2", MESSAGES(USER("a"), SYSTEM("b")), TEMPLATE_CLOSED, "messages[1]");
}

static void test_render_mistral(void **state)
{
    (void)state;
    check_text("mistral", MESSAGES(USER("a"), ASSISTANT("b"), USER(" c")), TEMPLATE_GENERATE,
               "<s> [INST] a [/INST] b</s> [INST]  c [/INST]");
    check_text("mistral", MESSAGES(SYSTEM("s"), USER("a")), TEMPLATE_GENERATE, "<s> [INST] s\n\na [/INST]");
}

/* Qwen3 writes thoughts, empty ones too, only behind the last question. */
static void test_render_qwen3(void **state)
{
    (void)state;
    check_text("qwen3", MESSAGES(USER("q")), TEMPLATE_GENERATE, "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n");
    check_text("qwen3", MESSAGES(USER("q"), ASSISTANT("\na")), TEMPLATE_CLOSED,
               "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\na<|im_end|>\n");
    check_text("qwen3", MESSAGES(USER("q"), ASSISTANT("<think>\nhm\n</think>\n\na"), USER("r")), TEMPLATE_CLOSED,
               "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\na<|im_end|>\n<|im_start|>user\nr<|im_end|>\n");
    check_text("qwen3", MESSAGES(USER("q"), ASSISTANT("<think>\nhm\n</think>\n\na"), ASSISTANT("b")), TEMPLATE_CLOSED,
               "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n<think>\nhm\n</think>\n\na<|im_end|>\n"
               "<|im_start|>assistant\n<think>\n\n</think>\n\nb<|im_end|>\n");
}

static const char file_text[] =
    "{\"bos\": \"<s>\", \"system\": [\"[\", \"]\"], \"user\": [\"Q: \", \"\\n\"], \"assistant\": [\"A: \", \"\\n\\n\"], "
    "\"default_system\": \"be brief\", \"generation\": \"A:\"}";

static void test_file_is_read_and_named_by_its_content(void **state)
{
    const char *path = test_file(test_folder(), "my.json", file_text, sizeof file_text - 1);
    ChatTemplate t;
    Digest digest;
    StrBuf out, name;

    (void)state;
    strbuf_init(&out);
    strbuf_init(&name);
    CHECK_OK(template_open(&t, path, NULL, NULL));
    CHECK_OK(template_render(&t, MESSAGES(USER("why"), ASSISTANT("so")), TEMPLATE_GENERATE, &out));
    check_str(strbuf_str(&out), "<s>[be brief]Q: why\nA: so\n\nA:", 29);
    CHECK_OK(sha256_of(file_text, sizeof file_text - 1, &digest));
    strbuf_addf(&name, "file:%s", digest_hex(&digest).text);
    assert_string_equal(t.name, name.data);
    template_release(&t);
    strbuf_release(&name);
    strbuf_release(&out);
}

static void refuse_file(const char *text, const char *part)
{
    ChatTemplate t;

    CHECK_FAILS(template_parse(&t, str_of(text), "my.json"), LT_E_INPUT, part);
}

static void test_file_errors_name_the_place(void **state)
{
    ChatTemplate t;
    StrBuf out;

    (void)state;
    refuse_file("[]", "my.json");
    refuse_file("{\"user\": [\"\", \"\"], \"assistant\": [\"\"]}", "my.json: assistant: expected [before, after]");
    refuse_file("{\"user\": [\"\", 1], \"assistant\": [\"\", \"\"]}", "my.json: user[1]: expected a string");
    refuse_file("{\"user\": [\"\", \"\"], \"assistant\": [\"\", \"\"], \"eos\": \"\"}", "my.json: eos: this key is not known");
    refuse_file("{\"user\": [\"\", \"\"], \"assistant\": [\"\", \"\"], \"default_system\": \"x\"}", "my.json: default_system");
    refuse_file("{\"user\": [\"a\\u0000b\", \"\"], \"assistant\": [\"\", \"\"]}", "my.json: user[0]");
    CHECK_FAILS(template_open(&t, "nowhere.json", NULL, NULL), LT_E_INPUT, "nowhere.json");
    CHECK_FAILS(template_open(&t, "chatlm", NULL, NULL), LT_E_USAGE, "'chatlm' is no chat template: expected one of chatml, llama2");
    /* A template without a system turn has no place for such a message. */
    strbuf_init(&out);
    CHECK_OK(template_parse(&t, str_of("{\"user\": [\"\", \"\"], \"assistant\": [\"\", \"\"]}"), "my.json"));
    CHECK_FAILS(template_render(&t, MESSAGES(SYSTEM("s"), USER("u")), TEMPLATE_CLOSED, &out), LT_E_INPUT, "has no role 'system'");
    template_release(&t);
    strbuf_release(&out);
}

static Status file_round(void)
{
    ChatTemplate t;
    StrBuf out;
    Status st;

    strbuf_init(&out);
    TRY(template_parse(&t, (Str){file_text, sizeof file_text - 1}, "my.json"));
    st = template_render(&t, MESSAGES(USER("why")), TEMPLATE_GENERATE, &out);
    template_release(&t);
    strbuf_release(&out);
    return st;
}

static void test_lack_of_memory_is_reported(void **state)
{
    const int64_t held = mem_held();
    const uint64_t before = mem_count();

    (void)state;
    CHECK_OK(file_round());
    const uint64_t n = mem_count() - before;
    assert_true(n > 3);
    for (uint64_t i = 1; i <= n; i++) {
        mem_fail_at(i);
        const Status st = file_round();
        mem_fail_at(0);
        /* Jansson passes over its own failures as malformed text. */
        if (st != LT_E_NOMEM && st != LT_E_INPUT)
            fail_msg("allocation %d of %d: %s: %s", (int)i, (int)n, status_name(st), status_text());
        status_clear();
        assert_int_equal(mem_held(), held);
    }
}

/* A tokenizer folder with this chat template. */
static Tokenizer *load_with_template(const char *folder, const char *text)
{
    Tokenizer *t;
    StrBuf json;

    tiny_bytes_json(&json, &(TinyFile){0});
    test_file(folder, "tokenizer.json", json.data, json.len);
    strbuf_release(&json);
    if (text != NULL)
        test_file(folder, "chat_template.jinja", text, strlen(text));
    CHECK_OK(tokenizer_load(&t, folder));
    return t;
}

static void test_folder_refuses_unknown_templates_by_hash(void **state)
{
    Tokenizer *t = load_with_template(test_folder(), "{{ messages }}");
    ChatTemplate out;
    Digest digest;

    (void)state;
    CHECK_OK(sha256_of("{{ messages }}", 14, &digest));
    CHECK_FAILS(template_open(&out, "folder", t, "models/x"), LT_E_INPUT, digest_hex(&digest).text);
    CHECK_FAILS(template_open(&out, "folder", t, "models/x"), LT_E_INPUT, "'models/x': the folder's chat template");
    tokenizer_free(t);
    t = load_with_template(test_folder(), NULL);
    CHECK_FAILS(template_open(&out, "folder", t, "models/x"), LT_E_INPUT, "expected a chat template");
    tokenizer_free(t);
}

/* ---- the reference's texts ---- */

enum { MESSAGES_MAX = 16 };

static size_t read_messages(JsonAt list, ChatMessage *message)
{
    size_t n;
    Str role;

    CHECK_OK(json_to_array(list, &n));
    assert_in_range(n, 1, MESSAGES_MAX);
    for (size_t i = 0; i < n; i++) {
        const JsonAt item = json_element(&list, i);
        CHECK_OK(json_get_str(&item, "role", &role));
        assert_true(chat_role_find(role, &message[i].role));
        CHECK_OK(json_get_str(&item, "content", &message[i].content));
    }
    return n;
}

static void check_row(const Tokenizer *tokenizer, const ChatTemplate *t, JsonAt row)
{
    const JsonAt ids = json_member(&row, "ids");
    ChatMessage message[MESSAGES_MAX];
    bool generate = false;
    Encoder *e;
    Ids got = {0};
    StrBuf out;
    Str want;
    size_t n;

    strbuf_init(&out);
    CHECK_OK(json_opt_bool(&row, "add_generation_prompt", &generate));
    n = read_messages(json_member(&row, "messages"), message);
    CHECK_OK(template_render(t, message, n, generate ? TEMPLATE_GENERATE : TEMPLATE_CLOSED, &out));
    CHECK_OK(json_get_str(&row, "rendered", &want));
    check_str(strbuf_str(&out), want.data, want.len);

    CHECK_OK(encoder_create(&e, tokenizer));
    CHECK_OK(encoder_encode(e, strbuf_str(&out), false, &got));
    CHECK_OK(json_to_array(ids, &n));
    assert_int_equal(got.count, n);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(got.id[i], json_integer_value(json_array_get(ids.value, i)));
    ids_release(&got);
    encoder_free(e);
    strbuf_release(&out);
}

/* Rows of one tokenizer, whose folder says which template it is. */
static size_t check_tokenizer(const char *name, const char *folder, const char *template_name)
{
    static const char rows[] = "golden/tokenizer/chat.jsonl.gz";
    const char *path = test_data(folder);
    Tokenizer *tokenizer;
    ChatTemplate t;
    LineReader *lines;
    json_t *document;
    bool more;
    size_t n = 0;
    Str line;

    CHECK_OK(lines_open(&lines, test_data(rows)));
    CHECK_OK(tokenizer_load(&tokenizer, path));
    CHECK_OK(template_open(&t, "folder", tokenizer, path));
    assert_string_equal(t.name, template_name);
    for (;;) {
        CHECK_OK(lines_next(lines, &line, &more));
        if (!more)
            break;
        CHECK_OK(json_parse(&document, line, rows, lines_number(lines)));
        const JsonAt row = json_root(document, rows, lines_number(lines));
        Str owner;
        CHECK_OK(json_get_str(&row, "tokenizer", &owner));
        if (str_is(owner, name)) {
            check_row(tokenizer, &t, row);
            n++;
        }
        json_decref(document);
    }
    template_release(&t);
    tokenizer_free(tokenizer);
    lines_close(lines);
    return n;
}

static void test_golden_chat(void **state)
{
    (void)state;
    assert_int_equal(check_tokenizer("minimind2-small", "data/models/minimind2-small", "minimind2"), 8);
    assert_int_equal(check_tokenizer("qwen2.5", "data/tokenizers/qwen2.5", "qwen2.5"), 8);
    assert_int_equal(check_tokenizer("llama3", "data/tokenizers/llama3", "llama3"), 8);
    assert_int_equal(check_tokenizer("llama2", "data/tokenizers/llama2", "zephyr"), 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_render_chatml),
        cmocka_unit_test(test_render_keeps_nul_in_content),
        cmocka_unit_test(test_render_open_leaves_the_answer_open),
        cmocka_unit_test(test_render_llama2),
        cmocka_unit_test(test_render_mistral),
        cmocka_unit_test(test_render_qwen3),
        cmocka_unit_test(test_file_is_read_and_named_by_its_content),
        cmocka_unit_test(test_file_errors_name_the_place),
        cmocka_unit_test(test_lack_of_memory_is_reported),
        cmocka_unit_test(test_folder_refuses_unknown_templates_by_hash),
        cmocka_unit_test(test_golden_chat),
    };
    return TEST_MAIN(tests);
}
