#include "model/rotation.h"

Status rotation_take(RotationRoom *room, TensorArena *arena, const Model *m, int64_t n_token)
{
    TRY(tensor_arena_take(arena, &room->all.row, LT_I32, 1, n_token));
    if (!rope_by_length(&m->cfg)) {
        room->all.cos = m->rope.cos;
        room->all.sin = m->rope.sin;
        return LT_OK;
    }
    TRY(tensor_arena_take(arena, &room->all.cos, LT_F32, n_token, m->cfg.head_dim / 2));
    return tensor_arena_take(arena, &room->all.sin, LT_F32, n_token, m->cfg.head_dim / 2);
}

Status rotation_open(RotationRoom *room, const Model *m, int64_t n_token)
{
    const size_t n = (size_t)(n_token * (m->cfg.head_dim / 2));

    if (!rope_by_length(&m->cfg))
        return LT_OK;
    TRY(MEM_NEW(room->host_row, (size_t)n_token));
    TRY(MEM_NEW(room->host_cos, n));
    TRY(MEM_NEW(room->host_sin, n));
    for (int64_t i = 0; i < n_token; i++)
        room->host_row[i] = (int32_t)i;
    return LT_OK;
}

void rotation_close(RotationRoom *room)
{
    mem_free(room->host_row);
    mem_free(room->host_cos);
    mem_free(room->host_sin);
    *room = (RotationRoom){0};
}

Status rotation_set(RotationRoom *room, const Model *m, const int32_t *position, const int32_t *length, int64_t n, Rotation *out)
{
    Rotation r = room->all;

    r.row = tensor_cols(r.row, 0, n);
    if (rope_by_length(&m->cfg)) {
        r.cos = tensor_rows(r.cos, 0, n);
        r.sin = tensor_rows(r.sin, 0, n);
        TRY(rope_rows(device_pool(m->dev), &m->cfg, position, length, n, room->host_cos, room->host_sin));
        TRY(device_upload(m->dev, r.cos, room->host_cos));
        TRY(device_upload(m->dev, r.sin, room->host_sin));
    }
    TRY(device_upload(m->dev, r.row, rope_by_length(&m->cfg) ? room->host_row : position));
    *out = r;
    return LT_OK;
}
