#include "kernels/cpu/attn_core.h"

int attn_width(int head_size) { return (head_size + PANEL_COLS - 1) / PANEL_COLS * PANEL_COLS; }

int attn_task_queries(int group) { return group < ATTN_TASK_ROWS ? ATTN_TASK_ROWS / group : 1; }

float *attn_carve(char *block, size_t *used, size_t count)
{
    char *piece = block != NULL ? block + *used : NULL;

    *used += (count * sizeof(float) + 63) / 64 * 64;
    return (float *)(void *)piece;
}

static size_t carve_all(AttnWork *w, char *block, int group, int head_size)
{
    const size_t rows = (size_t)attn_task_queries(group) * (size_t)group, size = (size_t)head_size, width = (size_t)attn_width(head_size);
    size_t used = 0;

    w->keys = attn_carve(block, &used, size * ATTN_BLOCK);
    w->values = attn_carve(block, &used, ATTN_BLOCK * width);
    w->scores = attn_carve(block, &used, PANEL_ROWS * ATTN_BLOCK);
    w->q = attn_carve(block, &used, rows * size);
    w->split = (AttnSums){attn_carve(block, &used, rows), attn_carve(block, &used, rows), attn_carve(block, &used, rows * width)};
    w->total = (AttnSums){attn_carve(block, &used, rows), attn_carve(block, &used, rows), attn_carve(block, &used, rows * width)};
    w->position = (int32_t *)(void *)attn_carve(block, &used, rows);
    return used;
}

size_t attn_work_bytes(int group, int head_size)
{
    AttnWork unused;

    return carve_all(&unused, NULL, group, head_size);
}

void attn_work_carve(AttnWork *w, void *block, int group, int head_size)
{
    *w = (AttnWork){.group = group, .head_size = head_size, .width = attn_width(head_size)};
    carve_all(w, block, group, head_size);
}

AttnWork attn_work_part(const AttnWork *w, int first, int count)
{
    const int64_t row = (int64_t)first * w->group, at = row * w->width;
    AttnWork part = *w;

    part.n_query = count;
    part.position += first;
    part.q += row * w->head_size;
    part.split = (AttnSums){w->split.max + row, w->split.mass + row, w->split.sum + at};
    part.total = (AttnSums){w->total.max + row, w->total.mass + row, w->total.sum + at};
    return part;
}
