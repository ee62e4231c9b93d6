/* What the readers of task rows share: text joined in the data set's arena, and labels in both of their spellings. */
#ifndef LETHE_EVAL_TASKS_TEXT_H
#define LETHE_EVAL_TASKS_TEXT_H

#include "core/json.h"

/* The parts behind one another, in the arena. Docs keep slices of such texts instead of copies: a shot begins with its row's context. */
Status text_join(Arena *arena, Str *out, const Str *part, size_t n_part);

/* A label: upstream files write a number, Hugging Face's copies the same number as a one-digit string. The empty string of unlabelled test
 * rows is refused like any other value outside min..max (0 <= min, max <= 9). */
Status label_read(const JsonAt *row, const char *key, int min, int max, int *out);

/* "Question: {question}\nAnswer: {answer}" with the way to its parts: ARC's and GSM8K's wording, shot and context in one text. */
Status question_join(Arena *arena, Str question, Str answer, Str *shot, Str *context);

#endif
