#include "kernels/cpu/rows.h"

/* A task of this many elements takes about ten times as long as handing it out. */
enum { TASK_ELEMENTS = 32768 };

typedef struct RowsRun {
    RowsBody body;
    const void *args;
    int64_t n_row, block;
} RowsRun;

static Status run_block(void *context, int64_t index, int thread)
{
    const RowsRun *run = context;
    const int64_t from = index * run->block, left = run->n_row - from;

    (void)thread;
    run->body(run->args, from, from + (left < run->block ? left : run->block));
    return LT_OK;
}

Status rows_run(Device *dev, const RowsBody body[CPU_LEVELS], const void *args, int64_t n_row, int64_t elements)
{
    RowsRun run = {body[cpu_of(dev)->level], args, n_row, TASK_ELEMENTS / (elements > 0 ? elements : 1)};

    run.block = run.block > 0 ? run.block : 1;
    return pool_run(dev->pool, (n_row + run.block - 1) / run.block, run_block, &run);
}
