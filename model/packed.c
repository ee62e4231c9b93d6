#include "model/packed.h"

#include "core/mem.h"

static const Tensor *layer_matrix(const LayerWeights *w, int which)
{
    const Tensor *const matrix[PACKED_A_LAYER] = {&w->qkv, &w->o, &w->gate_up, &w->down};

    return matrix[which];
}

/* Takes one matrix's place; while the arena plans, only its size counts. */
static Status take(TensorArena *arena, Tensor *packed, Tensor w)
{
    const size_t bytes = op_gemm_pack_bytes(arena->dev, w, GEMM_NARROW);

    *packed = (Tensor){0};
    return bytes == 0 ? LT_OK : tensor_arena_take(arena, packed, LT_U16, 1, (int64_t)((bytes + 1) / 2));
}

/* p->matrix NULL: nothing is kept, for the plan. */
static Status take_all(PackedWeights *p, TensorArena *arena, const Model *model)
{
    Tensor unused;

    for (int64_t layer = 0; layer < model->cfg.num_hidden_layers; layer++)
        for (int i = 0; i < PACKED_A_LAYER; i++)
            TRY(take(arena, p->matrix != NULL ? &p->matrix[layer * PACKED_A_LAYER + i] : &unused, *layer_matrix(&model->layer[layer], i)));
    return take(arena, &p->head, model->head);
}

size_t packed_bytes(const Model *model)
{
    PackedWeights p = {.matrix = NULL};
    TensorArena arena;

    tensor_arena_plan(&arena, model->dev);
    const Status st = take_all(&p, &arena, model);
    return tensor_arena_planned(&arena, st);
}

static Status pack(Device *dev, Tensor packed, Tensor w)
{
    return tensor_is_set(packed) ? op_gemm_pack(dev, packed, w, GEMM_NARROW) : LT_OK;
}

static Status pack_all(PackedWeights *p, const Model *model)
{
    TRY(MEM_NEW(p->matrix, (size_t)model->cfg.num_hidden_layers * PACKED_A_LAYER));
    TRY(tensor_arena_open(&p->memory, model->dev, packed_bytes(model)));
    TRY(take_all(p, &p->memory, model));
    for (int64_t layer = 0; layer < model->cfg.num_hidden_layers; layer++)
        for (int i = 0; i < PACKED_A_LAYER; i++)
            TRY(pack(model->dev, p->matrix[layer * PACKED_A_LAYER + i], *layer_matrix(&model->layer[layer], i)));
    return pack(model->dev, p->head, model->head);
}

Status packed_open(PackedWeights *p, const Model *model)
{
    *p = (PackedWeights){0};
    const Status st = pack_all(p, model);
    if (st != LT_OK)
        packed_close(p);
    return st;
}

void packed_close(PackedWeights *p)
{
    tensor_arena_close(&p->memory);
    mem_free(p->matrix);
    *p = (PackedWeights){0};
}
