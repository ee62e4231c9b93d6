/* From what a user asks for to a template: by name, by the folder's hash, from a file. */
#include "model/template.h"

#include "core/file.h"
#include "core/json.h"

enum { FILE_MAX = 1 << 20 };

static const char choices[] = "chatml, llama2, llama3, zephyr, qwen2.5, qwen3, mistral, minimind2, FILE.json";

/* Rendering works with C strings: a NUL would end one early. */
static Status keep_text(ChatTemplate *t, JsonAt at, const char **out)
{
    Str text;

    TRY(json_to_str(at, &text));
    if (memchr(text.data, '\0', text.len) != NULL)
        return json_fail(at, "a text without U+0000 is expected");
    return (*out = arena_strndup(&t->memory, text.data, text.len)) != NULL ? LT_OK : LT_E_NOMEM;
}

static Status read_text(ChatTemplate *t, const JsonAt *root, const char *key, const char **out)
{
    const JsonAt at = json_member(root, key);

    return json_here(at) ? keep_text(t, at, out) : LT_OK;
}

static Status read_turn(ChatTemplate *t, JsonAt at, ChatTurn *turn)
{
    size_t n;

    TRY(json_to_array(at, &n));
    if (n != 2)
        return json_expected(at, "[before, after]");
    TRY(keep_text(t, json_element(&at, 0), &turn->before));
    return keep_text(t, json_element(&at, 1), &turn->after);
}

static Status refuse_unknown_keys(JsonAt root)
{
    static const char *const keys[] = {"bos", "system", "user", "assistant", "default_system", "generation"};
    const char *key;
    json_t *value;

    json_object_foreach(root.value, key, value)
    {
        size_t i = 0;
        while (i < sizeof keys / sizeof *keys && strcmp(key, keys[i]) != 0)
            i++;
        if (i == sizeof keys / sizeof *keys)
            return json_fail(json_member(&root, key),
                             "this key is not known: bos, system, user, assistant, default_system, generation are");
    }
    return LT_OK;
}

static Status read_root(ChatTemplate *t, JsonAt root)
{
    const JsonAt system = json_member(&root, "system");

    TRY(json_to_object(root));
    TRY(refuse_unknown_keys(root));
    TRY(read_text(t, &root, "bos", &t->bos));
    TRY(read_text(t, &root, "default_system", &t->default_system));
    TRY(read_text(t, &root, "generation", &t->generation));
    if (json_here(system))
        TRY(read_turn(t, system, &t->turn[CHAT_SYSTEM]));
    else if (t->default_system != NULL)
        return json_fail(json_member(&root, "default_system"), "a default needs 'system' to be written with");
    TRY(read_turn(t, json_member(&root, "user"), &t->turn[CHAT_USER]));
    return read_turn(t, json_member(&root, "assistant"), &t->turn[CHAT_ASSISTANT]);
}

static Status name_by_content(ChatTemplate *t, Str json)
{
    Digest digest;
    StrBuf name;
    Status st;

    strbuf_init(&name);
    TRY_GOTO(sha256_of(json.data, json.len, &digest), st, done);
    strbuf_addf(&name, "file:%s", digest_hex(&digest).text);
    TRY_GOTO(strbuf_status(&name), st, done);
    if ((t->name = arena_strndup(&t->memory, name.data, name.len)) == NULL)
        st = LT_E_NOMEM;
done:
    strbuf_release(&name);
    return st;
}

Status template_parse(ChatTemplate *out, Str json, const char *file)
{
    ChatTemplate t = {.bos = "", .generation = ""};
    json_t *document = NULL;
    Status st;

    arena_init(&t.memory);
    TRY_GOTO(json_parse(&document, json, file, 0), st, done);
    TRY_GOTO(read_root(&t, json_root(document, file, 0)), st, done);
    TRY_GOTO(name_by_content(&t, json), st, done);
    *out = t;
    arena_init(&t.memory);
done:
    template_release(&t);
    json_decref(document);
    return st;
}

static Status open_file(ChatTemplate *out, const char *path)
{
    StrBuf text;
    Status st;

    strbuf_init(&text);
    TRY_GOTO(file_read(path, FILE_MAX, &text), st, done);
    st = template_parse(out, strbuf_str(&text), path);
done:
    strbuf_release(&text);
    return st;
}

static Status open_folders(ChatTemplate *out, const Tokenizer *t, const char *folder)
{
    Digest digest;

    if (!tokenizer_template_digest(t, &digest))
        return FAIL(LT_E_INPUT,
                    "'%s': expected a chat template in chat_template.jinja or tokenizer_config.json, found none; choose one: %s", folder,
                    choices);
    const ChatTemplate *found = template_known(&digest);
    if (found == NULL)
        return FAIL(LT_E_INPUT, "'%s': the folder's chat template, SHA-256 %s, is not one we know; choose one: %s", folder,
                    digest_hex(&digest).text, choices);
    *out = *found;
    return LT_OK;
}

Status template_open(ChatTemplate *out, const char *spec, const Tokenizer *t, const char *folder)
{
    const ChatTemplate *named = template_find(str_of(spec));

    if (named != NULL) {
        *out = *named;
        return LT_OK;
    }
    if (strcmp(spec, "folder") == 0)
        return open_folders(out, t, folder);
    if (str_ends(str_of(spec), str_of(".json")))
        return open_file(out, spec);
    return FAIL(LT_E_USAGE, "'%s' is no chat template: expected one of %s, folder", spec, choices);
}

void template_release(ChatTemplate *t)
{
    arena_release(&t->memory);
}
