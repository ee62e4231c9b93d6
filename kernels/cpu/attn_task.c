#include "kernels/cpu/attn_task.h"

#include "core/mem.h"

typedef struct AttnRun {
    Device *dev;
    const AttnPlan *plan;
    const AttnTask *task;
} AttnRun;

static Status run_task(void *context, int64_t index, int thread)
{
    const AttnRun *run = context;
    void *block = cpu_scratch(run->dev, thread, run->plan->block_bytes);

    if (block == NULL)
        return LT_E_NOMEM;
    run->plan->compute[cpu_of(run->dev)->level](run->plan->args, &run->task[index], block);
    return LT_OK;
}

Status attn_run(Device *dev, const AttnPlan *plan)
{
    const int64_t n_task = plan->list(NULL, plan->args);
    AttnTask *task;
    Status st;

    TRY(MEM_NEW(task, (size_t)n_task));
    plan->list(task, plan->args);
    st = pool_run(dev->pool, n_task, run_task, &(AttnRun){dev, plan, task});
    mem_free(task);
    return st;
}
