#include "model/template.h"

#include "core/utf8.h"

static const char *const role_name[N_CHAT_ROLE] = {[CHAT_SYSTEM] = "system", [CHAT_USER] = "user", [CHAT_ASSISTANT] = "assistant"};

bool chat_role_find(Str name, ChatRole *out)
{
    for (int role = 0; role < N_CHAT_ROLE; role++) {
        if (str_is(name, role_name[role])) {
            *out = (ChatRole)role;
            return true;
        }
    }
    return false;
}

/* A conversation on its way into the text. */
typedef struct Rendering {
    const ChatTemplate *t;
    const ChatMessage *message;
    size_t n, last_user; /* last_user = n: no user message */
    TemplateEnd end;
    const Str *folded; /* a system message that waits for its user message; NULL: none */
    StrBuf content;    /* of the message under way */
    StrBuf *out;
} Rendering;

static Str strip_newlines(Str s)
{
    while (s.len > 0 && s.data[0] == '\n')
        s = str_slice(s, 1, s.len);
    while (s.len > 0 && s.data[s.len - 1] == '\n')
        s.len--;
    return s;
}

static Str drop_first_newlines(Str s)
{
    while (s.len > 0 && s.data[0] == '\n')
        s = str_slice(s, 1, s.len);
    return s;
}

static size_t find_last(Str s, Str needle)
{
    size_t last = SIZE_MAX;

    for (size_t at = 0; (at = str_find(s, needle, at)) != SIZE_MAX; at++)
        last = at;
    return last;
}

/* Qwen3 forgets the thoughts of answers to earlier questions; an answer to the last one shows them, or an empty place for them if it ends the
 * conversation. */
static void add_thinking(Rendering *r, size_t i)
{
    const Str open = str_of("<think>"), close = str_of("</think>");
    Str answer = r->message[i].content, thought = {"", 0};
    const size_t end = str_find(answer, close, 0);

    if (end != SIZE_MAX) {
        thought = str_slice(answer, 0, end);
        const size_t begin = find_last(thought, open);
        thought = strip_newlines(begin == SIZE_MAX ? thought : str_slice(thought, begin + open.len, thought.len));
        answer = drop_first_newlines(str_slice(answer, find_last(answer, close) + close.len, answer.len));
    }
    if (i > r->last_user && (i + 1 == r->n || thought.len > 0)) {
        strbuf_add_text(&r->content, "<think>\n");
        strbuf_add_str(&r->content, thought);
        strbuf_add_text(&r->content, "\n</think>\n\n");
        answer = drop_first_newlines(answer);
    }
    strbuf_add_str(&r->content, answer);
}

static void add_content(Rendering *r, size_t i)
{
    const ChatTemplate *t = r->t;
    const ChatMessage *m = &r->message[i];

    if (r->folded != NULL) {
        strbuf_add_text(&r->content, t->turn[CHAT_SYSTEM].before);
        strbuf_add_str(&r->content, *r->folded);
        strbuf_add_text(&r->content, t->turn[CHAT_SYSTEM].after);
        r->folded = NULL;
    }
    if (t->thinks && m->role == CHAT_ASSISTANT)
        add_thinking(r, i);
    else
        strbuf_add_str(&r->content, m->content);
}

static void add_turn(Rendering *r, ChatRole role, Str content, bool open)
{
    strbuf_add_text(r->out, r->t->turn[role].before);
    strbuf_add_str(r->out, r->t->trims ? py_strip(content) : content);
    if (!open)
        strbuf_add_text(r->out, r->t->turn[role].after);
}

/* Where the system message has no turn of its own, users and assistants speak by turns. */
static Status check_order(const Rendering *r, size_t i)
{
    const size_t first = r->message[0].role == CHAT_SYSTEM ? 1 : 0;
    const ChatRole role = r->message[i].role, wanted = (i - first) % 2 == 0 ? CHAT_USER : CHAT_ASSISTANT;

    if (r->t->turn[role].before == NULL)
        return FAIL(LT_E_INPUT, "messages[%zu]: chat template '%s' has no role '%s'", i, r->t->name, role_name[role]);
    if (r->t->folds_system && i >= first && role != wanted)
        return FAIL(LT_E_INPUT, "messages[%zu]: chat template '%s' expects the role '%s' here, '%s' found", i, r->t->name,
                    role_name[wanted], role_name[role]);
    return LT_OK;
}

static Status add_message(Rendering *r, size_t i)
{
    const ChatMessage *m = &r->message[i];

    TRY(check_order(r, i));
    if (m->role == CHAT_SYSTEM && r->t->folds_system) {
        r->folded = &m->content;
        return LT_OK;
    }
    strbuf_clear(&r->content);
    add_content(r, i);
    TRY(strbuf_status(&r->content));
    add_turn(r, m->role, strbuf_str(&r->content), r->end == TEMPLATE_OPEN && i + 1 == r->n);
    return LT_OK;
}

static Status render(Rendering *r)
{
    const ChatTemplate *t = r->t;
    const Str system = str_of(t->default_system != NULL ? t->default_system : "");

    strbuf_add_text(r->out, t->bos);
    if (t->default_system != NULL && r->message[0].role != CHAT_SYSTEM) {
        if (t->folds_system)
            r->folded = &system;
        else
            add_turn(r, CHAT_SYSTEM, system, false);
    }
    for (size_t i = 0; i < r->n; i++)
        TRY(add_message(r, i));
    if (r->folded != NULL)
        return FAIL(LT_E_INPUT, "messages[%zu]: chat template '%s' expects the role 'user' here, the end found", r->n, t->name);
    if (r->end == TEMPLATE_GENERATE || (r->end == TEMPLATE_CLOSED && t->always_generates))
        strbuf_add_text(r->out, t->generation);
    return strbuf_status(r->out);
}

Status template_render(const ChatTemplate *t, const ChatMessage *message, size_t n, TemplateEnd end, StrBuf *out)
{
    Rendering r = {.t = t, .message = message, .n = n, .last_user = n, .end = end, .out = out};

    if (n == 0)
        return FAIL(LT_E_INPUT, "messages: expected at least one, found none");
    if (end == TEMPLATE_OPEN && message[n - 1].role != CHAT_ASSISTANT)
        return FAIL(LT_E_INPUT, "messages[%zu]: only an assistant's message can be gone on with, '%s' found", n - 1,
                    role_name[message[n - 1].role]);
    for (size_t i = 0; i < n; i++)
        if (message[i].role == CHAT_USER)
            r.last_user = i;
    const Status st = render(&r);
    strbuf_release(&r.content);
    return st;
}
