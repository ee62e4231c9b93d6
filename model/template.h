/* Chat templates: how a conversation becomes one text for a tokenizer.
 *
 * A template is data: texts in front of and behind each role's turn, and a few habits. The Jinja program of a model's folder is never run: its
 * SHA-256 says which of our templates it is, and an unknown one is refused by that hash.
 * The text holds BOS where the template has one: encode it without special tokens. */
#ifndef LETHE_MODEL_TEMPLATE_H
#define LETHE_MODEL_TEMPLATE_H

#include "model/tokenizer.h"

typedef enum ChatRole { CHAT_SYSTEM, CHAT_USER, CHAT_ASSISTANT, N_CHAT_ROLE } ChatRole;

typedef struct ChatMessage {
    ChatRole role;
    Str content;
} ChatMessage;

typedef struct ChatTurn {
    const char *before, *after; /* NULL: the template has no such role */
} ChatTurn;

typedef struct ChatTemplate {
    const char *name;           /* for tables and keys; a file's is "file:" and the SHA-256 of its bytes */
    const char *bos;            /* in front of everything */
    ChatTurn turn[N_CHAT_ROLE];
    const char *default_system; /* where the first message is none; NULL: nothing then */
    const char *generation;     /* opens the answer */
    bool trims;                 /* takes white space off both ends of every content */
    bool folds_system;          /* writes the system message into the first user message; roles must alternate */
    bool always_generates;      /* opens an answer though nobody asked for it */
    bool thinks;                /* Qwen3: answers to the last question carry their thoughts, empty ones too */
    Arena memory;               /* of a file's texts */
} ChatTemplate;

/* spec: the name of a template, "folder" (the one whose hash the tokenizer has, of `folder`, for messages) or FILE.json:
 * {"bos", "system": [before, after], "user", "assistant", "default_system", "generation"}. LT_E_USAGE for anything else. */
Status template_open(ChatTemplate *out, const char *spec, const Tokenizer *t, const char *folder);
void template_release(ChatTemplate *t);
/* Pure: the text of a FILE.json. */
Status template_parse(ChatTemplate *out, Str json, const char *file);
/* NULL if there is no template of this name, or of this hash. */
const ChatTemplate *template_find(Str name);
const ChatTemplate *template_known(const Digest *digest);

typedef enum TemplateEnd {
    TEMPLATE_CLOSED,   /* behind the last message */
    TEMPLATE_GENERATE, /* with the opening of an answer */
    TEMPLATE_OPEN,     /* inside the last message, an assistant's, for the model to go on */
} TemplateEnd;

/* Appends the text. LT_E_INPUT, naming the message by its index, where the template has no place for one. */
Status template_render(const ChatTemplate *t, const ChatMessage *message, size_t n, TemplateEnd end, StrBuf *out);

/* "system", "user" or "assistant"; false for any other name. */
bool chat_role_find(Str name, ChatRole *out);

#endif
