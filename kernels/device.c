#include "kernels/device.h"

#include "core/mem.h"
#include "kernels/backend.h"

#include <stdio.h>
#include <string.h>

enum { N_MARK = 8 };

typedef struct Entry {
    const char *name;
    const Backend *table;
    const char *class_name; /* NULL: the backend names the class */
} Entry;

/* The backends of this build, best first: what "auto" tries, down to the CPU. The simulator is asked for by name only; its results are its own, so
 * its class is. */
static const Entry BACKEND[] = {
#ifdef LETHE_CUDA
    {"cuda", &backend_cuda, NULL},
#endif
    {"cpu", &backend_cpu, NULL},
#ifdef LETHE_CUDASIM
    {"cudasim", &backend_cuda, "cudasim"},
#endif
};
enum { N_BACKEND = sizeof BACKEND / sizeof *BACKEND };

/* Names we know of, so that one which is missing from this build is told from a typing error. */
static bool name_is_known(const char *name, size_t len)
{
    return (len == 3 && memcmp(name, "cpu", 3) == 0) || (len == 4 && memcmp(name, "cuda", 4) == 0);
}

/* "name" or "name:index"; index is what follows the colon, NULL without one. */
static Status find_backend(const char *name, const Entry **entry, const char **index)
{
    const char *colon = strchr(name, ':');
    const size_t len = colon == NULL ? strlen(name) : (size_t)(colon - name);

    *index = colon == NULL ? NULL : colon + 1;
    for (int i = 0; i < N_BACKEND; i++)
        if (strlen(BACKEND[i].name) == len && memcmp(BACKEND[i].name, name, len) == 0) {
            *entry = &BACKEND[i];
            return LT_OK;
        }
    if (name_is_known(name, len))
        return FAIL(LT_E_DEVICE, "device '%s': this build has no %.*s backend", name, (int)len, name);
    return FAIL(LT_E_USAGE, "unknown device '%s', expected cpu, cuda, cuda:N or auto", name);
}

static Status open_backend(Device **out, const Entry *entry, const char *index, int n_thread)
{
    Device *dev;
    Status st;

    TRY(MEM_NEW(dev, 1));
    dev->table = entry->table;
    TRY_GOTO(pool_create(&dev->pool, n_thread), st, fail);
    TRY_GOTO(entry->table->open(dev, index, pool_threads(dev->pool)), st, fail);
    if (entry->class_name != NULL)
        snprintf(dev->class_name, sizeof dev->class_name, "%s", entry->class_name);
    *out = dev;
    return LT_OK;
fail:
    pool_free(dev->pool);
    mem_free(dev);
    return st;
}

Status device_open(Device **out, const char *name, int n_thread)
{
    const Entry *entry = NULL;
    const char *index = NULL;

    if (n_thread < 0)
        return FAIL(LT_E_USAGE, "%d threads asked for, expected 0 (all processors) or more", n_thread);
    if (strcmp(name, "auto") != 0) {
        TRY(find_backend(name, &entry, &index));
        return open_backend(out, entry, index, n_thread);
    }
    for (entry = BACKEND; entry->table != &backend_cpu; entry++) {
        if (open_backend(out, entry, NULL, n_thread) == LT_OK)
            return LT_OK;
        status_clear(); /* no such device here: the next one will do */
    }
    return open_backend(out, entry, NULL, n_thread);
}

void device_close(Device *dev)
{
    if (dev == NULL)
        return;
    dev->table->close(dev);
    pool_free(dev->pool);
    mem_free(dev);
}

const char *device_class(const Device *dev) { return dev->class_name; }
const char *device_description(const Device *dev) { return dev->description; }
const char *device_backend(const Device *dev) { return dev->table->name; }
bool device_runs_ahead(const Device *dev) { return dev->table->runs_ahead; }
Pool *device_pool(const Device *dev) { return dev->pool; }
GemmMeter *device_gemm_meter(Device *dev) { return &dev->meter; }

Status device_alloc(Device *dev, size_t bytes, void **out) { return dev->table->alloc(dev, bytes, out); }

void device_release(Device *dev, void *block)
{
    if (block != NULL)
        dev->table->release(dev, block);
}

Status device_upload(Device *dev, Tensor to, const void *from)
{
    return to.rows == 0 || to.cols == 0 ? LT_OK : dev->table->upload(dev, to, from);
}

Status device_download(Device *dev, void *to, Tensor from)
{
    return from.rows == 0 || from.cols == 0 ? LT_OK : dev->table->download(dev, to, from);
}

Status device_copy(Device *dev, Tensor to, Tensor from)
{
    if (!tensor_same_shape(to, from) || to.dtype != from.dtype)
        return FAIL(LT_E_FAIL, "copy: from %s [%lld, %lld] to %s [%lld, %lld]", dtype_name(from.dtype), (long long)from.rows,
                    (long long)from.cols, dtype_name(to.dtype), (long long)to.rows, (long long)to.cols);
    return to.rows == 0 || to.cols == 0 ? LT_OK : dev->table->copy(dev, to, from);
}

Status device_fill_zero(Device *dev, Tensor t) { return t.rows == 0 || t.cols == 0 ? LT_OK : dev->table->fill_zero(dev, t); }
Status device_sync(Device *dev) { return dev->table->sync(dev); }

Status device_memory(Device *dev, size_t *free_bytes, size_t *total_bytes) { return dev->table->memory(dev, free_bytes, total_bytes); }

Status device_mark(Device *dev, int slot)
{
    BUG_IF(slot < 0 || slot >= N_MARK);
    return dev->table->mark(dev, slot);
}

Status device_elapsed(Device *dev, int from, int to, double *seconds)
{
    BUG_IF(from < 0 || from >= N_MARK || to < 0 || to >= N_MARK);
    return dev->table->elapsed(dev, from, to, seconds);
}

bool device_can_record(const Device *dev) { return dev->table->record_begin != NULL; }

Status device_record_begin(Device *dev)
{
    if (!device_can_record(dev))
        return FAIL(LT_E_UNSUPPORTED, "the %s backend cannot record what is called", dev->table->name);
    return dev->table->record_begin(dev);
}

Status device_record_end(Device *dev, Status recorded, DeviceRecord **out) { return dev->table->record_end(dev, recorded, out); }
Status device_replay(Device *dev, DeviceRecord *record) { return dev->table->replay(dev, record); }

void device_record_free(Device *dev, DeviceRecord *record)
{
    if (record != NULL)
        dev->table->record_free(dev, record);
}
