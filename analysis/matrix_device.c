#include "analysis/matrix_device.h"

#include "model/stream.h"

Status on_device_put(OnDevice *out, Device *dev, double *host, int64_t rows, int64_t cols)
{
    *out = (OnDevice){.t = tensor_of(host, LT_F64, rows, cols), .host = host};
    if (device_is_host(dev))
        return LT_OK;
    TRY(device_alloc(dev, (size_t)(rows * cols) * sizeof *host, &out->block));
    out->t.data = out->block;
    return device_upload(dev, out->t, host);
}

Status on_device_get(OnDevice *m, Device *dev) { return m->block != NULL ? device_download(dev, m->host, m->t) : LT_OK; }

void on_device_drop(OnDevice *m, Device *dev)
{
    if (m->block != NULL)
        device_release(dev, m->block);
    *m = (OnDevice){0};
}
